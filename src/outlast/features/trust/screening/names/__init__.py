"""Names in the forms in which they are compared, and an index of the names of lists."""
