"""What the weights in the archive say of a text: computed once, and kept."""
