"""Catalogues: signed, delegated lists of manifests, as repositories of The Update Framework (TUF).

`repository` makes and signs one; `sync` follows one; `listing` says what is in it; `lister` and
`source` are what the rest asks. `python-tuf` reads, writes and signs the files; the rules of a
client are in `trusted`.
"""
