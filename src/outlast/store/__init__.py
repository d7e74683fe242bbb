"""Keeps bytes durably: blobs, capsules, manifests, drafts, refs, partials, the index, garbage
collection.

Public names: `archive.Archive` is the way in and out; `writer.WriteSession` may change it,
`forms.Forms` knows how each blob is held, `partials.Partial` is a file that is still arriving.
"""
