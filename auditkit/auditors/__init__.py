"""Auditors: one package each, with the statistics that only it uses; none imports another."""
