"""What the model relies on: attributions, checks of them, effects, reasons and recourse."""
