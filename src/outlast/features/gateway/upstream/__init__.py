"""Asking one target: the request, the clocks, what went wrong, and how the target stands."""
