"""Options and arguments that several commands take, and what they mean."""
