"""Whether the bytes that lie here are still those that were verified, and what is known to be
damaged.

Public names: `sums.Sums` are the sums of a plain blob's pieces, `checks.Soundness` compares them
before bytes are used, `damage.DamageNotes` remembers what was found.
"""
