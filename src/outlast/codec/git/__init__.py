"""Git's objects as pure bytes: what a commit and its trees say, and the packs that they come in.

Public names: `commits.CommitText` reads a commit, `trees.root_of` makes the id of a folder of its
files, `packs.read_pack` reads a pack, `proof.prove` says whether a commit is that of a manifest.
"""
