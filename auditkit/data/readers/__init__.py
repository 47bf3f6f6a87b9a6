"""Readers: one file a format, each from a path to a data frame."""
