"""What was said of manifests, and of code, by digest: the operator's own word, and revocations.

Public names: `accepted.AcceptedManifests`, `accepted.Accepted`, `accepted.WordKind`;
`allowed_code.CodeWords`, `allowed_code.AllowedCode`; `revocations.Revocations`,
`revocations.Revoked`.
"""
