"""What the model gives away: membership and attribute attacks, copies, private retraining."""
