"""What a report is evidence for: frameworks as data, what people state, and the state of each clause."""
