"""Durability: that what is archived stays, on this disk and on others."""
