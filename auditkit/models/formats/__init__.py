"""Model formats: one file a format, each from bytes to a network without running its author's code."""
