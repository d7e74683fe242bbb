"""Evidence of acquisition: what came when, from where, with which licence text, under which rules.

Public names: `recorder.EvidenceRecorder` writes a record at each pull; `reading.evidence_of` gives
those of a manifest and what speaks for each; `timestamp` asks for trusted timestamps and checks
them.
"""
