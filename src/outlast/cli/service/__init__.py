"""Units of systemd: what they say, how values are written in them, and the word that says ready."""
