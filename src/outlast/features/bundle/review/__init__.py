"""What a person reads of a bundle: MANIFEST.md and index.html, for those who decide whether it may
enter, and verify.py, with which they check it.
"""
