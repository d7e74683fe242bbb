"""Asking an endpoint: politely, within a budget, and believing nothing."""
