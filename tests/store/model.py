"""What an archive should hold, as dictionaries; and the same read from its plain files, by code
that shares nothing with the store.
"""

import copy
import hashlib
import json
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader
from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId

Fact = tuple[Any, ...]
Key = tuple[RepoId, GitOid]


@dataclass(slots=True)
class Draft:
    """What a commit consists of, by path: what is to come, and what is acknowledged. `named` are
    the contents that its lines name, also those that later lines replaced: all of them stay.
    """

    listed: dict[str, FileEntry]
    held: dict[str, FileEntry]
    unlisted: bool = False
    named: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.named |= {entry.key for entry in (*self.listed.values(), *self.held.values())}

    def hold(self, entries: Iterable[FileEntry]) -> None:
        """These are acknowledged."""
        for entry in entries:
            self.held[entry.path] = entry
            self.named.add(entry.key)

    def missing(self) -> list[FileEntry]:
        return [entry for path, entry in self.listed.items() if path not in self.held]


@dataclass(slots=True)
class Model:
    """The dictionary model. Blobs and manifests are named by hex digests. A blob of `capsules` is
    held as one that depends on these others, and beside that plain where it is one of `doubled`;
    every other is plain.
    """

    blobs: dict[str, int] = field(default_factory=dict)
    capsules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doubled: set[str] = field(default_factory=set)
    manifests: dict[str, Revision] = field(default_factory=dict)
    drafts: dict[Key, Draft] = field(default_factory=dict)
    refs: dict[tuple[RepoId, str], GitOid] = field(default_factory=dict)
    partials: dict[str, frozenset[int]] = field(default_factory=dict)

    def copy(self) -> "Model":
        return copy.deepcopy(self)

    # What the operations mean

    def put_revision(self, revision: Revision) -> Revision:
        """Merged with what its draft knows; less complete manifests go, a more complete one stays.
        Returns what stands.
        """
        draft = self.drafts.pop(key_of(revision), None)
        if draft is not None:
            files = {e.path: e for e in revision.files} | draft.held
            missing = {e.path: e for e in draft.missing()} | {e.path: e for e in revision.missing}
            lacking = [e for path, e in missing.items() if path not in files]
            unlisted = revision.unlisted and draft.unlisted
            revision = Revision.of(
                revision.repo, revision.commit, files.values(), lacking, unlisted=unlisted
            )
        others = [old for old in self.manifests_of(key_of(revision)) if old != revision]
        for old in others:
            if says_all_of(old, revision):
                return old
        for old in others:
            if says_all_of(revision, old):
                del self.manifests[old.digest.hex]
        self.manifests[revision.digest.hex] = revision
        return revision

    def acknowledge(self, key: Key, entries: list[FileEntry]) -> None:
        if key not in self.drafts:
            sealed = self.manifests_of(key)[0]
            if set(entries) <= set(sealed.files):
                return
            listed = {e.path: e for e in (*sealed.files, *sealed.missing)}
            held = {e.path: e for e in sealed.files}
            self.drafts[key] = Draft(listed, held, sealed.unlisted)
        self.drafts[key].hold(entries)

    def delete_revision(self, key: Key) -> None:
        self.manifests = {d: r for d, r in self.manifests.items() if key_of(r) != key}
        self.drafts.pop(key, None)

    def manifests_of(self, key: Key) -> list[Revision]:
        """The manifests of a revision, the best one first."""
        found = [(r.unlisted, len(r.missing), d) for d, r in self.manifests.items()]
        return [self.manifests[d] for *_, d in sorted(found) if key_of(self.manifests[d]) == key]

    def revisions(self) -> set[Key]:
        return {*map(key_of, self.manifests.values()), *self.drafts}

    def shown(self, key: Key) -> tuple[dict[str, str], dict[str, str]]:
        """The files and the missing files of a revision, as digests by path."""
        if (draft := self.drafts.get(key)) is not None:
            return _keys(draft.held.values()), _keys(draft.missing())
        best = self.manifests_of(key)[0]
        return _keys(best.files), _keys(best.missing)

    def used(self) -> set[str]:
        """The blobs that something refers to."""
        files = {e.key for r in self.manifests.values() for e in r.files}
        return files | {e.key for draft in self.drafts.values() for e in draft.held.values()}

    def awaited(self) -> set[str]:
        """The contents that a draft waits for: their blobs and partials stay."""
        waits = {e.key for draft in self.drafts.values() for e in draft.missing()}
        return waits - self.used()

    def live(self, leases: Iterable[str] = ()) -> set[str]:
        """The blobs that stay: what is referred to or leased, and what that depends on."""
        found: set[str] = set()
        drafted = {key for draft in self.drafts.values() for key in draft.named}
        todo = [*self.used(), *drafted, *leases]
        while todo:
            key = todo.pop()
            if key not in found:
                found.add(key)
                todo.extend(self.bases_of(key))
        return found

    def garbage(self, leases: Iterable[str] = ()) -> set[tuple[str, str]]:
        """The files of blobs that can go."""
        live = self.live(leases)
        plain = {("blob", key) for key in self.plain() if key not in live}
        return plain | {
            ("capsule", key) for key in self.capsules if key not in live or key in self.doubled
        }

    def drop(self, what: str, key: str) -> None:
        """A file of a blob goes."""
        if what == "capsule":
            del self.capsules[key]
            if key not in self.doubled:
                del self.blobs[key]
            self.doubled.discard(key)
        elif key in self.doubled:
            self.doubled.discard(key)
        else:
            del self.blobs[key]

    # Forms

    def plain(self) -> set[str]:
        return {key for key in self.blobs if key not in self.capsules or key in self.doubled}

    def bases_of(self, key: str) -> tuple[str, ...]:
        return () if key in self.doubled else self.capsules.get(key, ())

    def may_depend(self, key: str, base: str) -> bool:
        """Whether the capsule of a blob may depend on another: chains have two links at most."""
        return base in self.blobs and 1 + self._below(base, key) + self._above(key, 3) <= 2

    def _below(self, key: str, top: str) -> int:
        if key == top:
            return 99
        return max((1 + self._below(base, top) for base in self.bases_of(key)), default=0)

    def _above(self, key: str, limit: int) -> int:
        found = [other for other in self.capsules if key in self.bases_of(other)] if limit else []
        return max((1 + self._above(other, limit - 1) for other in found), default=0)

    def pack(self, key: str, bases: tuple[str, ...]) -> None:
        self.capsules[key] = bases
        self.doubled.discard(key)

    def unpack(self, key: str) -> None:
        self.capsules.pop(key, None)
        self.doubled.discard(key)

    # Comparing

    def facts(self) -> frozenset[Fact]:
        """All that is so, one by one: what an interrupted operation left must hold every fact that
        was so before and would be so after it, and none that would be so neither before nor after.
        """
        return frozenset(self._facts())

    def _facts(self) -> Iterator[Fact]:
        yield from (("blob", *item) for item in self.blobs.items())
        yield from (("capsule", *item) for item in self.capsules.items())
        yield from (("plain", key) for key in self.plain())
        yield from (("manifest", digest) for digest in self.manifests)
        for name, pieces in self.partials.items():
            yield ("partial", name)
            yield from (("piece", name, index) for index in pieces)
        for (repo, name), commit in self.refs.items():
            yield ("ref", repo, name, commit)
            yield ("name", repo, name)
        for key in self.revisions():
            yield ("revision", key)
            yield from (("file", key, *item) for item in self.shown(key)[0].items())
        for key, draft in self.drafts.items():
            yield ("draft", key)
            yield from (("listed", key, path) for path in {*draft.listed, *draft.held})
            yield from (("held", key, *item) for item in _keys(draft.held.values()).items())

    def check_interrupted(self, before: "Model", after: "Model", *passing: str) -> None:
        """That this is what an operation leaves that died anywhere between two states. Facts of
        the kinds in `passing` may come and go meanwhile.
        """
        here, old, new = self.facts(), before.facts(), after.facts()
        assert not (old & new) - here
        # When manifests of one revision go one by one, a lesser one may show meanwhile.
        assert not {fact for fact in here - old - new if fact[0] not in {"file", *passing}}

    # Reading

    @classmethod
    def read(cls, home: Path) -> "Model":
        """What the plain files in `home` say. Fails where bytes are not what their name says, or
        where something refers to bytes that are not there.
        """
        model = cls()
        for path in (home / "blobs").glob("*/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
            assert path.parent.name == path.name[:2]
            assert stat.S_IMODE(path.stat().st_mode) == 0o444
            model.blobs[path.name] = path.stat().st_size
        for path in (home / "capsules").glob("*/*"):
            assert path.parent.name == path.name[:2]
            assert stat.S_IMODE(path.stat().st_mode) == 0o444
            data, bases = _restored(home, path.name[:64])
            assert path.name == f"{hashlib.sha256(data).hexdigest()}.olc"
            if path.name[:64] in model.blobs:
                model.doubled.add(path.name[:64])
            model.blobs[path.name[:64]] = len(data)
            model.capsules[path.name[:64]] = bases
        for path in (home / "manifests").iterdir():
            data = path.read_bytes()
            assert hashlib.sha256(data).hexdigest() + ".json" == path.name
            model.manifests[path.stem] = revision = Revision.from_bytes(data)
            for entry in revision.files:
                assert model.blobs.get(entry.key) == entry.size, f"{entry.path} is not there"
        for path in (home / "refs").glob("*/*/*/[!.]*"):
            body, check = path.read_bytes().split(b"check ")
            assert check.decode() == _check(home, path, b"", body) + "\n"
            commit = json.loads(body)["commit"]
            model.refs[repo_at(path, home / "refs"), unquote(path.name)] = GitOid(commit)
        for path in (home / "drafts").glob("*/*/*/*.jsonl"):
            draft = _read_draft(home, path)
            assert {e.key for e in draft.held.values()} <= set(model.blobs)
            model.drafts[repo_at(path, home / "drafts"), GitOid(path.stem)] = draft
        for path in (home / "partial").iterdir():
            model.partials[path.stem] = _read_journal(path)
        return model


def _restored(home: Path, key: str) -> tuple[bytes, tuple[str, ...]]:
    """What a capsule restores, and its bases, which must be there."""

    def find(digest: Digest) -> InMemory:
        plain = home / "blobs" / digest.hex[:2] / digest.hex
        return InMemory(plain.read_bytes() if plain.exists() else _restored(home, digest.hex)[0])

    capsule = (home / "capsules" / key[:2] / f"{key}.olc").read_bytes()
    reader = CapsuleReader(InMemory(capsule), find)
    data = bytearray(reader.size)
    reader.readinto(0, memoryview(data))
    return bytes(data), tuple(base.sha256.hex for base in reader.directory.bases)


def says_all_of(one: Revision, other: Revision) -> bool:
    """Whether `other`, of the same commit, is not needed beside `one`."""
    named = {e.path for e in one.files} | {e.path for e in one.missing if e in other.missing}
    return (
        set(other.files) <= set(one.files)
        and {e.path for e in other.missing} <= named
        and one.unlisted <= other.unlisted
    )


def _keys(entries: Iterable[FileEntry]) -> dict[str, str]:
    return {entry.path: entry.key for entry in entries}


def key_of(revision: Revision) -> Key:
    return revision.repo, revision.id


def repo_at(path: Path, root: Path) -> RepoId:
    plural, organisation, name, _ = path.relative_to(root).parts
    text = name if organisation == "-" else f"{organisation}/{name}"
    return RepoId.parse(f"{plural}/{text}")


def _check(home: Path, path: Path, part: bytes, body: bytes) -> str:
    """The check of a small file or a line of it, as docs/format/archive.md says it."""
    name = path.relative_to(home).as_posix().encode()
    return hashlib.sha256(b"\0".join([b"outlast", name, part, body])).hexdigest()[:32]


def _read_draft(home: Path, path: Path) -> Draft:
    head, *lines = path.read_bytes().split(b"\n")
    draft = Draft({}, {}, json.loads(head.split(b"\t")[0]).get("unlisted", False))
    for line in lines:
        text, tab, check = line.partition(b"\t")
        if not tab or len(check) < 32:
            continue  # torn
        parts = [p for p in (b"listed", b"noted") if check.decode() == _check(home, path, p, text)]
        assert len(parts) == 1
        document = json.loads(text)
        held = document.pop("held", False)
        entry = FileEntry.from_json(document)
        (draft.held if held else draft.listed)[entry.path] = entry
        draft.named.add(entry.key)
    return draft


def _read_journal(path: Path) -> frozenset[int]:
    data, journal = path.with_suffix(".data"), path.with_suffix(".have")
    if not data.exists() or not journal.exists():
        return frozenset()
    raw = journal.read_bytes()
    if int.from_bytes(raw[8:16], "little") != data.stat().st_size:
        return frozenset()
    return frozenset(i for i, byte in enumerate(raw[24:]) if byte == 1)
