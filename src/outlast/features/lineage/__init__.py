"""Which archived models a model was made from, by its records and by its weights."""
