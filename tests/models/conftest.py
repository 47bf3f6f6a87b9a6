"""The fixtures of tests/people.py: rows with every kind of column, their schema and a model file."""

from people import card, data, model_file, model_like, module, schema

__all__ = ["card", "data", "model_file", "model_like", "module", "schema"]
