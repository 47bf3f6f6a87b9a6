"""Evidence: measurements, reports, policies, and how limits are judged; no torch, no pandas."""
