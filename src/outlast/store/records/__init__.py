"""The small files of an archive: refs, facts, drafts, shares and the marker, each with a checksum
of its own.

Public names: `records.Records` reads and writes one; `refs.Refs`, `drafts.Drafts` and
`shares.Shares` say what is in them; `survey.survey` reads all of them.
"""
