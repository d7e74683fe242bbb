"""Use cases, one module each: they take an archive and a `Control`, emit typed events, and print
nothing.

Public names: `pull.pull`, `keep.keep`, `add.add`, `adopt.adopt`, `pack.pack`, `verify.verify`,
`export.link`, `run.prepare`, `share.share`, `search.search`, `doctor.examine`.
"""
