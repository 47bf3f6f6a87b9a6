"""Differentially private training: DP-SGD, clipping, accounting, checkpoints, canaries, retraining."""
