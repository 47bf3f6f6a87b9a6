"""Data sets: rows with named columns, their groups, filters and bins, and the readers of files."""
