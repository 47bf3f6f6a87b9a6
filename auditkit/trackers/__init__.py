"""Experiment trackers: a finished report logged as a run of one, a file for each tracker."""
