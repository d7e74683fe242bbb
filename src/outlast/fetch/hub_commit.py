"""The text of a commit, as its hub gives it, so that the commit's id can be computed again from the
manifest.
"""

from collections.abc import Sequence

from outlast.codec.git.commits import CommitText
from outlast.codec.git.proof import HubCommit, beside_of, prove
from outlast.core.digest import GitOid
from outlast.core.errors import IntegrityError, MalformedError
from outlast.core.manifest import FileEntry
from outlast.sources.git.upload_pack import COMMIT_ALONE, COMMIT_AND_FOLDERS, GitRepository


def look_up(repository: GitRepository, commit: GitOid, entries: Sequence[FileEntry]) -> HubCommit:
    """The text of a commit that has just these files, and what it has beside them. The folders are
    asked for only where they do not follow from the files. Raises :class:`IntegrityError` where
    the commit has other files, and errors of sources.
    """
    kind, data = repository.objects(commit, COMMIT_ALONE).get(commit, ("", b""))
    if kind != "commit":
        raise MalformedError(f"the hub's repository does not give commit {commit.hex[:12]}")
    found = HubCommit(data)
    try:
        prove(commit, entries, found)
    except IntegrityError:
        objects = repository.objects(commit, COMMIT_AND_FOLDERS)
        trees = {oid: body for oid, (what, body) in objects.items() if what == "tree"}
        found = HubCommit(data, beside_of(CommitText.read(data), trees, entries))
        prove(commit, entries, found)
    return found
