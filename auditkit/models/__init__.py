"""Models: what predicts, how its predictions are made and kept."""
