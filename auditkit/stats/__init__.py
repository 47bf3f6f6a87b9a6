"""Statistics: arrays and counts in, estimates with intervals out; no model, no file, no torch."""
