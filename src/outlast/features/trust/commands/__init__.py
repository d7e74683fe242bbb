"""The commands of trust."""
