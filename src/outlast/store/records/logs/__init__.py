"""Logs of lines, each with its check: what was screened, and what ran sealed."""
