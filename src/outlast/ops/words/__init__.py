"""What the operator says of models: which pickles may be used, and what is not given out."""
