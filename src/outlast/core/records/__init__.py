"""Records that features exchange: what lies in the archive, and more than one of them reads."""
