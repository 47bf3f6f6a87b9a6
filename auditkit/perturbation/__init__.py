"""Inputs made worse: damages of tables, images and texts by strength, and attacks along the gradient."""
