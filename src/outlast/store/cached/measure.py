"""What cached revisions take of the disk, and which of them may go."""

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.cached.choice import bytes_of, choose
from outlast.store.cached.marks import Key
from outlast.store.forms import StoredForm
from outlast.store.partials import CAPSULE


@dataclass(frozen=True, slots=True)
class Cache:
    """The cached revisions that may go, least recently used first, each with the keys of all files
    that it needs on the disk. `size`: the bytes that nothing else needs; `sizes` are those of all
    files, by key, and `users` counts the revisions that need each.
    """

    revisions: tuple[tuple[Key, frozenset[str]], ...]
    size: int
    sizes: dict[str, int]
    users: Counter[str]

    def choose(
        self, need: int, but: Collection[Key] = frozenset()
    ) -> list[tuple[Key, frozenset[str]]]:
        """Those that go, so that `need` bytes are free; none of `but`."""
        free = [one for one in self.revisions if one[0] not in but]
        names = [names for _, names in free]
        return [free[at] for at in choose(names, self.sizes, self.users, need)]

    def freed_by(self, gone: Iterable[tuple[Key, frozenset[str]]]) -> int:
        """The bytes that are free once these went."""
        left = Counter(self.users)
        names: set[str] = set()
        for _, keys in gone:
            left.subtract(keys)
            names |= keys
        return bytes_of(names, self.sizes, left)


def measure(archive: Archive, pinned: Collection[Key] = ()) -> Cache:
    """Looks at all revisions and at the sizes of all files. `pinned` revisions stay, as do those of
    a model that a source has withdrawn, or of which the operator recorded a notice: what is here
    may be the only copy.
    """
    held = archive.forms.held()
    needs = {key: _with_bases(names, held) for key, names in _revisions(archive)}
    sizes = {digest.hex: size for digest, size in archive.forms.spaces().items()}
    sizes |= _downloads(archive)
    users: Counter[str] = Counter()
    for names in needs.values():
        users.update(names)
    stamps = archive.cached.stamps()
    order = sorted(stamps, key=lambda key: (stamps[key], key))
    free = {repo: _may_go(archive, repo) for repo in {repo for repo, _ in order}}
    cached = [key for key in order if key in needs and key not in pinned and free[key[0]]]
    revisions = tuple((key, needs[key]) for key in cached)
    everything = Cache(revisions, 0, sizes, users)
    return Cache(revisions, everything.freed_by(revisions), sizes, users)


def _may_go(archive: Archive, repo: RepoId) -> bool:
    about = archive.refs.about(repo)
    return not about.withdrawn and about.notice is None


def _revisions(archive: Archive) -> Iterator[tuple[Key, set[str]]]:
    """Every revision, with the keys of the files that it has or waits for."""
    summaries = archive.summaries()
    sealed = [line.digest for line in summaries if line.digest is not None]
    blobs = archive.index.blobs_of(sealed)
    found: dict[Key, set[str]] = {}
    for line in summaries:
        names = found.setdefault((line.repo, line.revision), set())
        if line.digest is not None:
            names |= {blob.hex for blob in blobs.get(line.digest, ())}
            continue
        with contextlib.suppress(OutlastError):  # damaged, or sealed meanwhile
            draft = archive.load(line.repo, line.revision)
            names |= _keys((*draft.files, *draft.missing)) if draft is not None else set()
    yield from found.items()


def _keys(entries: Iterable[FileEntry]) -> set[str]:
    return {entry.key for entry in entries}


def _with_bases(names: Iterable[str], held: dict[Digest, StoredForm]) -> frozenset[str]:
    """The same with all blobs that the capsules of `names` depend on."""
    found, todo = set(names), [name for name in names if Digest.is_valid(name)]
    while todo:
        form = held.get(Digest(todo.pop()))
        for base in form.bases if form is not None else ():
            if base.sha256.hex not in found:
                found.add(base.sha256.hex)
                todo.append(base.sha256.hex)
    return frozenset(found)


def _downloads(archive: Archive) -> dict[str, int]:
    """By key, the bytes of the disk that downloads in progress take."""
    found: dict[str, int] = {}
    folder = archive.layout.partial
    for name in disk.listed(folder):
        if name.endswith(".data"):
            key = name.removesuffix(".data").removesuffix(CAPSULE)
            with contextlib.suppress(FileNotFoundError):
                found[key] = found.get(key, 0) + disk.space_of(os.stat(folder / name))
    return found
