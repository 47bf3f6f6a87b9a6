"""The audit itself: a subject is loaded, auditors run, a report is made, replayed or foreseen."""
