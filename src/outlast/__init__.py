"""Keeps open-weight AI models available, verified and runnable, whoever stops hosting them."""

__version__ = "0.1.0"
