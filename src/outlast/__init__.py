"""Keeps open-weight models available, verified and runnable, no matter who stops hosting them."""

__version__ = "0.1.0"
