"""Git's smart HTTP, as far as it takes to get a commit and its folders from a hub, without a file.

Public names: `upload_pack.GitRepository` asks, and a source that has one is a
`upload_pack.GitSource`.
"""
