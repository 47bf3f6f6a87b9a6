"""Where independent parts of the work run: in this process, or on several devices at once, with the same results."""
