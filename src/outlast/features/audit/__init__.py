"""Audit: whether the model that answers at an endpoint is the one that the archive holds."""
