"""One API in front of hosted models and of the archive's own."""
