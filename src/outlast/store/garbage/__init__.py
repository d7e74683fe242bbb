"""What may be deleted, and what may not: records that prove themselves, those that cannot be read,
and the trash.
"""
