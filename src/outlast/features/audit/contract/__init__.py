"""Whether an endpoint does what requests ask of it: what it bills, cuts, ignores and refuses."""
