"""Whether a model repeats its training rows: copies among generated rows, held against rows that it never saw."""
