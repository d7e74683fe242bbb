"""The commands of second homes."""
