"""An archive of which all four claims hold, for each of its revisions."""

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from outlast.codec.hashing import names_of
from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.making.making import InitWishes, init
from outlast.features.trust.catalogue.making.publish import publish
from outlast.features.trust.catalogue.making.staging import read_staged, write_staged
from outlast.features.trust.catalogue.names import TargetName
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.sync import follow, sync
from outlast.features.trust.keys.pins import How, Pin, PinRole, Pins
from outlast.features.trust.keys.public import PublicKey
from outlast.features.trust.records.making import attest
from outlast.features.trust.records.statement import HubObservation, Publication, now_text
from outlast.store.archive import Archive
from outlast.store.records.file_list import entries_of, listing_digest
from outlast.store.records.refs import Ref
from outlast.store.writer import WriteSession

ORGANISATIONS: Final = 20
_HUB: Final = "https://huggingface.co"


@dataclass(frozen=True)
class BenchKey:
    """A key that lies in no file: a :class:`~outlast.features.trust.keys.signing.Signer`."""

    name: str
    secret: Ed25519PrivateKey

    @classmethod
    def make(cls, name: str) -> "BenchKey":
        return cls(name, Ed25519PrivateKey.generate())

    @property
    def key(self) -> PublicKey:
        return PublicKey.of_ed25519(self.secret.public_key().public_bytes_raw(), self.name)

    def sign(self, message: bytes) -> bytes:
        return self.secret.sign(message)


def build(home: Path, count: int) -> None:
    """`count` models of a few organisations: signed by their publisher, seen by two observers, and
    listed in a catalogue that the archive follows.
    """
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    publisher, one, two = map(BenchKey.make, ("publisher", "one", "two"))
    # Nothing here has to survive a crash, and so many syncs would take minutes.
    with mock.patch("os.fsync"):
        with Archive(home, create=True) as archive, archive.writer() as writer:
            pins = Pins(archive)
            for key in (one, two):
                pins.put(writer, _pin("*", PinRole.OBSERVER, key, now))
            for number in range(ORGANISATIONS):
                pins.put(writer, _pin(f"org{number}", PinRole.PUBLISHER, publisher, now))
            revisions = [_revision(archive, writer, number) for number in range(count)]
        with Archive(home) as archive:
            for revision in revisions:
                said = Publication("main", 1, now_text(now), (publisher.key,), "")
                attest(archive, revision, said, [publisher])
                for key in (one, two):
                    attest(archive, revision, _seen(revision, now), [key])
        _follow(home, revisions, now)


def _pin(namespace: str, role: PinRole, key: BenchKey, now: dt.datetime) -> Pin:
    return Pin(namespace, role, key.key, How.EXPLICIT, now_text(now), key.name)


def _revision(archive: Archive, writer: WriteSession, number: int) -> Revision:
    """A model with a file of its own and two that others have, too."""
    repo = RepoId.parse(f"org{number % ORGANISATIONS}/model-{number:05}")
    files = {
        "model.safetensors": f"weights {number}".encode(),
        "config.json": b"{}",
        "tokenizer.json": b"{ }",
    }
    entries = []
    for path, data in files.items():
        names = names_of(data)
        archive.put(writer, data, names)
        entries.append(FileEntry(path, names.size, names.sha256, None, names.merkle_root))
    commit = GitOid(hashlib.sha1(f"commit {number}".encode()).hexdigest())
    revision = Revision.of(repo, commit, entries)
    archive.put_revision(writer, revision)
    archive.refs.put(writer, repo, Ref("main", revision.id))
    return revision


def _seen(revision: Revision, now: dt.datetime) -> HubObservation:
    assert revision.commit is not None
    entries = entries_of(revision)
    return HubObservation(
        hub=_HUB,
        commit=revision.commit,
        seen=now_text(now),
        listing=listing_digest(entries),
        files=len(entries),
        size=sum(entry.size for entry in entries),
        vantage="bench",
    )


def _follow(home: Path, revisions: list[Revision], now: dt.datetime) -> None:
    folder, keys = home.parent / "listing", home.parent / "listing-keys"
    init(folder, "listing", keys, wishes=InitWishes(), passphrase=None, now=now)
    staged = read_staged(folder)
    for one in revisions:
        assert one.commit is not None
        target = TargetName(one.repo, one.commit)
        size = sum(entry.size for entry in one.files)
        staged.add(
            CatalogueEntry(
                target, one.digest, len(one.to_bytes()), 1, len(one.files), size, (_HUB,)
            )
        )
    write_staged(folder, staged)
    publish(folder, KeyRing([keys], lambda path: path.name.encode()), now)
    place = FolderPlace(folder)
    follow(home, "listing", place, (folder / "metadata" / "1.root.json").read_bytes(), now)
    sync(home, "listing", place, now)
