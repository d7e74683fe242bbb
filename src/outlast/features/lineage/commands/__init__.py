"""``outlast lineage``."""
