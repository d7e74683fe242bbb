"""The operator's own word for what is archived, by the digests of manifests.

Public names: `accepted.AcceptedManifests`, `accepted.Accepted`, `accepted.WordKind`.
"""
