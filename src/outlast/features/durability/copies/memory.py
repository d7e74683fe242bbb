"""What a node remembers of copies: ``durability/copies.json`` in the archive's folder.

What other nodes said is asked for again in each round; what is lost with the file is for how long a
node was silent, and which copies came because of a goal or a budget: those stay then.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from outlast.core.digest import Digest
from outlast.core.errors import DamagedRecordError, MalformedError
from outlast.core.manifest import load_json
from outlast.features.durability.copies.tuning import TUNING
from outlast.server.node import documents
from outlast.sources.peer_documents import CopiesSaid, read_copies
from outlast.store import disk
from outlast.store.archive import Archive

_FOLDER: Final = "durability"
_NAME: Final = "copies.json"
_VERSION: Final = 1
_MODE: Final = 0o644


@dataclass(slots=True)
class Peer:
    """The last word of another node, and for how many seconds it was silent since, while this node
    asked. It answered at this address. `due`: challenges that it still owes, also a part of one.
    """

    said: CopiesSaid
    host: str
    port: int
    silent: float = 0.0
    due: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class FailedBlock:
    """A block (16 KiB, counted in the file) that a holder of a manifest did not prove to have."""

    holder: str
    manifest: Digest
    blob: Digest
    block: int


@dataclass(slots=True)
class StoreNoted:
    """A second home, and for how many seconds it did not answer while this node asked. `held`:
    the manifests all of whose files this node has read there; that which was looked at last is the
    last. `due`: as for a peer.
    """

    holder: str
    site: str
    silent: float = 0.0
    due: float = 0.0
    held: dict[Digest, None] = field(default_factory=dict)


@dataclass(slots=True)
class Memory:
    """`taken` are the manifests of the copies that came because of a goal (`goal`) or a budget
    (`volunteer`), and `covers` says of such a manifest by which fuller one of the same commit it
    is here. `asked`: when the last round was, on the clock of this machine since it started.
    `stores` are by URL.
    """

    holder: str
    peers: dict[str, Peer] = field(default_factory=dict)
    taken: dict[Digest, str] = field(default_factory=dict)
    covers: dict[Digest, Digest] = field(default_factory=dict)
    failed: set[FailedBlock] = field(default_factory=set)
    asked: float = 0.0
    stores: dict[str, StoreNoted] = field(default_factory=dict)


@contextlib.contextmanager
def remembering(archive: Archive, wait: Callable[[float], object]) -> Iterator[Memory]:
    """The memory, for one process at a time; it is written when the block ends well. Raises
    :class:`DamagedRecordError` for a file that cannot be read, which is left alone.
    """
    folder = archive.layout.home / _FOLDER
    disk.make_dir(folder)
    with disk.turn(folder / "copies.lock", wait):
        path = folder / _NAME
        memory = _read(path)
        yield memory
        data = json.dumps(_document(memory), separators=(",", ":")).encode() + b"\n"
        with archive.writer() as writer, disk.reporting(path):
            disk.publish(writer.stage(data, _MODE), path)


def _read(path: Path) -> Memory:
    with disk.reporting(path):
        try:
            with path.open("rb") as file:
                data = file.read(TUNING.memory + 1)
        except FileNotFoundError:
            return Memory(os.urandom(8).hex())
    try:
        return _memory(load_json(data, TUNING.memory, containers=10_000_000))
    except (MalformedError, KeyError, TypeError, ValueError, AttributeError):
        raise DamagedRecordError(
            f"{path} is damaged",
            hint="move it away: a new one begins with what the nodes say",
        ) from None


def _document(memory: Memory) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "holder": memory.holder,
        "asked": memory.asked,
        "peers": [
            {
                "said": documents.copies(peer.said, 0, len(peer.said.manifests)),
                "host": peer.host,
                "port": peer.port,
                "silent": peer.silent,
                "due": peer.due,
            }
            for peer in memory.peers.values()
        ],
        "taken": {digest.hex: why for digest, why in memory.taken.items()},
        "covers": {digest.hex: other.hex for digest, other in memory.covers.items()},
        "failed": [
            [one.holder, one.manifest.hex, one.blob.hex, one.block] for one in sorted(memory.failed)
        ],
        "stores": {
            url: {
                "holder": noted.holder,
                "site": noted.site,
                "silent": noted.silent,
                "due": noted.due,
                "held": [digest.hex for digest in noted.held],
            }
            for url, noted in memory.stores.items()
        },
    }


def _memory(document: Any) -> Memory:
    if document["version"] != _VERSION:
        raise MalformedError("of another version")
    peers = [_peer(row) for row in document["peers"]]
    return Memory(
        holder=str(document["holder"]),
        peers={peer.said.holder: peer for peer in peers},
        taken={Digest(name): str(why) for name, why in document["taken"].items()},
        covers={Digest(name): Digest(other) for name, other in document["covers"].items()},
        failed={
            FailedBlock(str(holder), Digest(manifest), Digest(blob), int(block))
            for holder, manifest, blob, block in document["failed"]
        },
        asked=float(document["asked"]),
        # An older outlast noted none.
        stores={str(url): _store(row) for url, row in document.get("stores", {}).items()},
    )


def _store(row: Any) -> StoreNoted:
    return StoreNoted(
        holder=str(row["holder"]),
        site=str(row["site"]),
        silent=float(row["silent"]),
        due=float(row["due"]),
        held={Digest(name): None for name in row["held"]},
    )


def _peer(row: Any) -> Peer:
    said, _ = read_copies(row["said"], most=TUNING.manifests)
    silent, due = float(row["silent"]), float(row["due"])
    return Peer(said, str(row["host"]), int(row["port"]), silent, due)
