"""Answering callers: one request over several targets, and the server around it."""
