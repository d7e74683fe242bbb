"""Log probabilities of given text, from an engine that has the weights."""
