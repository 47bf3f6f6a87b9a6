"""The files that other tools read: hosts of code, test servers, registries of models."""
