"""Telling what changed: the text of an alert, and the channels that carry it."""
