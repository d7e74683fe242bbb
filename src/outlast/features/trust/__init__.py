"""Trust and rules: what is claimed of models and by whom, and what the operator allows to do with
them.
"""
