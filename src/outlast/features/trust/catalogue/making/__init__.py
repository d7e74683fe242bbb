"""Making catalogues: their keys, what is signed with them, and what is published."""
