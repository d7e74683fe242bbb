"""The commands of durability."""
