"""The report of an audit: its evidence as a file, and the verdict that follows from it."""
