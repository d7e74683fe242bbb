"""Pure values that every room knows: names, digests, manifests, events, errors, cancelling.

Public names: `names.RepoId`, `digest.Digest`, `manifest.Revision`, `events.Event`,
`errors.OutlastError`, `control.Control`, `cancel.Cancel`.
"""
