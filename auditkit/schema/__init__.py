"""The schema that travels inside a model file: columns, their encodings, classes and outputs."""
