"""Compares the parties behind a model with lists of sanctioned and restricted parties, which the
operator supplies as files. It reports what is alike, and from which row; it decides nothing.

Public names: `lists.reading.read_list` reads a list, `names.matching.NameIndex` compares names
with it, `screen.screen` does so for models, and `screening_log.ScreeningLog` remembers it.
"""
