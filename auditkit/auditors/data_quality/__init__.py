"""Whether the data can carry the audit: columns, duplicates, leaks, representation."""
