"""Revisions that came through a mirror: their marks, who reads them now, what they take, and how
they go when the mirror's quota is reached.
"""
