"""Starts coding tools against the gateway or a model of the archive."""
