"""Trust: keys and pins, signed statements about revisions, and which claims hold by them.

`keys` knows keys, signatures and pins; `records` knows statements, and says which claims follow
from them. Both read records of the archive alone, and never a blob.
"""
