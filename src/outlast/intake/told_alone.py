"""What only a node on the LAN said of a model stays where it carries its mark.

Nodes and servers pass the mark on (docs/adr/0022-neighbours-word.md). A bundle, a second home, a
catalogue or a copy that a static peer holds has no place for it: who reads those would take a
stranger's word for that of this archive.
"""

from outlast.core.errors import PolicyError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref


def is_told_alone(archive: Archive, revision: Revision) -> bool:
    """Whether a node on the LAN alone said which files a revision has."""
    return archive.unconfirmed.get(revision.repo, revision.id) is not None


def refuse_told_alone(archive: Archive, revision: Revision) -> None:
    """Raises :class:`PolicyError` where a node on the LAN alone said which files it has."""
    if is_told_alone(archive, revision):
        raise _refusal(f"the files of {revision.repo} are the word of a node on the LAN alone")


def refuse_told_ref(archive: Archive, repo: RepoId, name: str) -> None:
    """Raises :class:`PolicyError` where a node on the LAN alone said which commit a ref names."""
    if any(ref.name == name and ref.unconfirmed for ref in archive.refs.list(repo)):
        raise _refusal(f"that {repo}@{name} is this commit, a node on the LAN alone said")


def confirmed_refs(archive: Archive, revision: Revision) -> list[Ref]:
    """The refs that name a revision, without those of which a node on the LAN alone said so."""
    found = archive.refs.list(revision.repo)
    return [ref for ref in found if ref.commit == revision.id and not ref.unconfirmed]


def _refusal(problem: str) -> PolicyError:
    hint = "pull it once from a hub or a static peer; then it may go"
    return PolicyError(problem, hint=hint)
