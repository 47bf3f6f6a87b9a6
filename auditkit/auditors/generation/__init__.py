"""How good the rows of a generator are, beside real rows that it never saw, and for which classes and groups."""
