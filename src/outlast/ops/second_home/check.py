"""Check: read all of a second home, and say what is damaged or missing there."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.bucket.home import SecondHome
from outlast.codec.memory import Readable
from outlast.codec.reader import CapsuleReader
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import IntegrityError, NotArchivedError, RepoNotFoundError
from outlast.core.events import FileProblem, Planned, Progress
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class CheckedHome:
    """What was read, and what is wrong with it; each blob counts once."""

    revisions: int
    blobs: int
    size: int
    problems: tuple[FileProblem, ...]


def check(home: SecondHome, targets: Sequence[Target], control: Control) -> CheckedHome:
    """Reads the manifests and all bytes of the revisions that `targets` name, or of all, and
    compares each blob with its sha256; capsules are decoded. Changes nothing.
    """
    home.require()
    known: dict[Digest, str] = {}
    problems: list[FileProblem] = []
    count = total = 0
    for repo, commit in contents(home, targets):
        count += 1
        named = f"{repo}@{commit.hex[:12]}"
        revision = _load(home, repo, commit, named, problems)
        if revision is None:
            continue
        control.emit(Planned("verify", named, len(revision.files), revision.size))
        problems += [
            FileProblem(f"{named}: {name}", "it is damaged: delete it, and copy again", "corrupt")
            for name in home.damaged_statements(revision.digest)
        ]
        for entry in revision.files:
            control.cancel.check()
            digest = entry.sha256
            assert digest is not None, "what a manifest has is named by its sha256"
            if digest not in known:
                known[digest] = problem_of(home, digest, entry.path, control)
                total += entry.size
            if known[digest]:
                problems.append(FileProblem(f"{named}: {entry.path}", known[digest], "corrupt"))
    for problem in problems:
        control.emit(problem)
    return CheckedHome(count, len(known), total, tuple(problems))


def contents(home: SecondHome, targets: Sequence[Target]) -> Iterator[tuple[RepoId, GitOid]]:
    """The revisions of a home that are named, or all. Raises :class:`RepoNotFoundError`."""
    for target in targets or [Target(repo, None) for repo in home.repos()]:
        ref = None if target.ref is None else home.ref(target.repo, target.ref)
        found = [
            commit
            for commit in home.commits(target.repo)
            if target.ref is None
            or (ref is not None and ref.commit == commit)
            or commit.hex == target.ref
        ]
        if not found:
            raise RepoNotFoundError(f"{home.name} has no {target}")
        yield from ((target.repo, commit) for commit in found)


def _load(
    home: SecondHome, repo: RepoId, commit: GitOid, named: str, problems: list[FileProblem]
) -> Revision | None:
    try:
        return home.load(repo, commit)
    except IntegrityError as error:
        problems.append(FileProblem(named, str(error), error.code))
        return None


def problem_of(home: SecondHome, digest: Digest, path: str, control: Control) -> str:
    """What is wrong with a blob as it is given out; empty if nothing is."""
    return problem_in(lambda: home.open(digest), digest, path, control)


def problem_in(
    opened: Callable[[], Readable],
    digest: Digest,
    path: str,
    control: Control,
    heard: Callable[[memoryview], object] = len,
) -> str:
    """What is wrong with what should be the bytes of a blob; empty if nothing is. All of them are
    read, in their order, and `heard`; so are the parts that a capsule has twice. Raises
    :class:`TransientError` where the store does not give them now.
    """
    hasher = hashlib.sha256()
    try:
        blob = opened()
        at = 0
        while at < blob.size:
            chunk = bytearray(min(_CHUNK, blob.size - at))
            blob.readinto(at, memoryview(chunk))
            hasher.update(chunk)
            heard(memoryview(chunk))
            at += len(chunk)
            control.emit(Progress(path, len(chunk)))
            control.cancel.check()
        frame = list(blob.damaged_frame()) if isinstance(blob, CapsuleReader) else []
    except (IntegrityError, NotArchivedError) as error:
        return str(error)
    found = hasher.hexdigest()
    if found != digest.hex:
        return f"its sha256 is {found[:12]}…"
    return f"damaged, but it still reads: {', '.join(frame)}" if frame else ""
