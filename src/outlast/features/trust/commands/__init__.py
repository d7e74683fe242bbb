"""The commands of trust and rules."""
