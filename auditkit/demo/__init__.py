"""The embedded example data: the 1994 census (Adult)."""
