"""Use cases of second homes: copying there, checking and listing what is there."""
