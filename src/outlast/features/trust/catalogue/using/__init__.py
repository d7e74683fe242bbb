"""Using catalogues that are followed: what they list, where from, and what that proves."""
