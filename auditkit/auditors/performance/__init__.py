"""How well the model predicts: accuracy, errors, ranking and calibration."""
