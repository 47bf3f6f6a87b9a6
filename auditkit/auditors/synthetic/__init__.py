"""Synthetic records: how near they are to real ones, what a model learns from them, and what they give away."""
