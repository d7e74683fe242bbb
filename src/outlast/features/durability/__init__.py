"""Durability: what is archived stays right and readable for decades."""
