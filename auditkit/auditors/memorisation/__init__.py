"""Whether a model remembers its training rows: copies among generated rows, and membership and secrets of texts."""
