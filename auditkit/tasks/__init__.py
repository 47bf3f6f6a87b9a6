"""Tasks: what the outputs of a model mean, and what is measured of them."""
