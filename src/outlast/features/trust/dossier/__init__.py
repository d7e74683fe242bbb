"""Dossiers: one page that says what is known of a model and of the engine that runs it, signed, for
a person who has to decide, and who files it.
"""
