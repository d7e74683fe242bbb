"""Trust: what can be said of the bytes and of the parties behind a model, and what the operator's
rules make of it.
"""
