"""Signatures of other tools, found among the files of a model.

They are shown by their own words, and none is a claim of outlast: they bind no name, or no
revision. Public names: `openssf.OpenssfReader` says what they come to,
`openssf_signing.openssf_sign` writes one.
"""
