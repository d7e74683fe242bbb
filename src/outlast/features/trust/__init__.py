"""Trust and rules: what is claimed of models and by whom, and what the operator allows to do with
them.

`keys` knows keys, signatures and pins; `records` knows statements, and says which claims hold;
`catalogue` makes signed lists of models and follows those of others; `rules` is the gate that the
core asks; `screening` compares the parties behind models with lists; `bom` writes bills of
materials. All read records of the archive alone, and never a blob.
"""
