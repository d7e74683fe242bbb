"""Copies: how many nodes hold a model, who is to hold one more, and whether they still have it."""
