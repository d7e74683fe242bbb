"""How bytes become a blob here: plain or compressed, against which base, encoded, hashed and
stored; and the way back to a plain file.

Public names: `form_policy.choose`, `base_finder.BaseFinder`, `capsule_stream.Intake`,
`local_file.ingest`, `working_copies.Working`.
"""
