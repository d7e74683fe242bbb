"""The operator's own word for what is archived, by digests: of manifests, and of code.

Public names: `accepted.AcceptedManifests`, `accepted.Accepted`, `accepted.WordKind`;
`allowed_code.CodeWords`, `allowed_code.AllowedCode`.
"""
