"""Training: fit a network, train a model from a data set, mitigate a gap, adapt low-rank."""
