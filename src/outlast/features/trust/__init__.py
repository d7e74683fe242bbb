"""Trust: what the bytes of a model are, and whether the operator's rules allow to use them."""
