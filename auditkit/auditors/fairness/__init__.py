"""Whom the model treats differently: gaps between groups, proxies, trade-offs, identity terms."""
