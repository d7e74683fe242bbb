"""Trust: what is known of a model's origin, and who says so."""
