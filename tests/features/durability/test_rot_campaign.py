"""Bits and sectors of an archive rot while clients ask: all is found, all is mended, and no client
ever gets a wrong byte. `make torture`: 1,000 bits and 100 sectors.
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self

import pytest

from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.names import RepoId
from outlast.features.durability.parity.geometry import Share
from outlast.features.durability.parity.keeper import ParityKeeper
from outlast.features.durability.scrub.cursor import ScrubCursor
from outlast.features.durability.scrub.found import DamagedPart, FoundDamage
from outlast.features.durability.scrub.mender import Mender
from outlast.features.durability.scrub.scrub import Helpers, ScrubWishes, scrub
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.node import payloads
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from tests.campaign import SEED, rounds
from tests.hubsim import HubRepo, HubSim
from tests.pull import weights
from tests.pull.kit import MIB, Puller, contents
from tests.serve.node import Node
from tests.serve.peers import Peer
from tests.serve.wire import once
from tests.warm.calls import outlast

BITS, SECTORS = rounds(10, 1000), rounds(2, 100)
TOGETHER = 6
"""So much rots between two scrubs."""
SECTOR = 512
_random = Random(4)
PLAIN = _random.randbytes(5 * MIB + 321)
BASE = weights.model(10)
CARD = b"---\nbase_model: org/base\n---\n"
BASE_NAME, TUNED_NAME = "org/base", "org/tuned"


@dataclass(frozen=True)
class Specimen:
    """An archive in `home`, what it holds by model and path, and the hub that it came from."""

    home: Path
    hub: HubSim
    files: dict[str, dict[str, bytes]]

    @property
    def blobs(self) -> list[bytes]:
        return [data for files in self.files.values() for data in files.values()]


@pytest.fixture
def specimen(tmp_path: Path) -> Iterator[Specimen]:
    plain = weights.packed(tmp_path / "base.safetensors", BASE)
    tuned = weights.packed(tmp_path / "tuned.safetensors", weights.tuned(BASE))
    files = {
        BASE_NAME: {"model.safetensors": plain, "noise.bin": PLAIN, "config.json": b'{"a": 1}'},
        TUNED_NAME: {"model.safetensors": tuned, "README.md": CARD},
    }
    for name, held in files.items():
        HubRepo(tmp_path / "hub", name).commit(held)
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        pull = Puller(tmp_path / "archive", forms=FormWishes())
        for name in files:
            pull(name, hub.url)
        with Archive(pull.home) as archive:
            forms = {archive.form_of(Digest.of(data)).form for data in (plain, tuned, PLAIN)}
        assert forms == {Form.CAPSULE, Form.DELTA, Form.PLAIN}
        settings = tmp_path / "config" / "outlast" / "config.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text('[durability]\nscrub = "off"\n')  # the test does it
        yield Specimen(pull.home, hub, files)


def rot(path: Path, chance: Random, size: int) -> None:
    """Flips a bit; or, of more than one byte, puts others in their place. As on a disk, what memory
    holds stays as it was: bytes that are on their way to a client may be sent from there.
    """
    stat, data = path.stat(), bytearray(path.read_bytes())
    at = chance.randrange(max(1, len(data) - size + 1))
    flipped = bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + size])
    data[at : at + size] = flipped if size == 1 else chance.randbytes(len(flipped))
    other = path.with_name(f".{path.name}.rot")
    other.write_bytes(data)
    other.chmod(stat.st_mode & 0o777)
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


def mended(specimen: Specimen) -> tuple[FoundDamage, ...]:
    source = HubSource(HttpClient(HttpSettings()), specimen.hub.url)
    wishes = Wishes(forms=FormWishes())
    with (
        Archive(specimen.home) as archive,
        ScrubCursor(specimen.home) as cursor,
        Mender(archive, [source], nullcontext, wishes, Control()) as mender,
    ):
        helpers = Helpers(mender.mend, mender.ask)
        found: list[FoundDamage] = []
        for _ in range(50):  # what a client lays out elsewhere meanwhile is left for later
            result = scrub(archive, cursor, ScrubWishes(), helpers, Control())
            found += result.found
            if not result.left:
                return tuple(found)
        pytest.fail(f"{result.left} files are never read")


class Clients:
    """Ask all the while, by the hub's API and by that of nodes, and lay the models out in folders;
    `wrong` says who got a byte that is not right.
    """

    def __init__(self, specimen: Specimen, hub: Node, peer: Peer) -> None:
        self._specimen = specimen
        self._hub = hub
        self._peer = peer
        self._stop = threading.Event()
        self.still = threading.Lock()
        """While it is held nothing rots: what is laid out shares its bytes with the archive, and
        may rot as soon as it is there.
        """
        self._threads = [
            threading.Thread(target=self._ask, args=(ask, number))
            for number, ask in enumerate((self._from_hub, self._from_node, self._by_link))
        ]
        self.wrong: list[str] = []
        self.answers = [0, 0, 0]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, ask: Callable[[Random], int], number: int) -> None:
        chance = Random(f"{SEED} {number}")
        while not self._stop.is_set():
            with suppress(TimeoutError):
                self.answers[number] += ask(chance)

    def _judge(self, who: str, right: bytes, got: bytes) -> None:
        if not right.startswith(got):
            self.wrong.append(f"{who}: {len(got)} bytes")

    def _from_hub(self, chance: Random) -> int:
        name = chance.choice(list(self._specimen.files))
        path, data = chance.choice(list(self._specimen.files[name].items()))
        start = chance.randrange(len(data))
        headers = {"Range": f"bytes={start}-"} if chance.random() < 0.7 else {}
        reply = self._hub.get(f"/{name}/resolve/main/{path}", **headers)
        if reply.status in {200, 206}:
            self._judge(f"{name} {path}", data[start:] if reply.status == 206 else data, reply.body)
        return reply.status in {200, 206}

    def _from_node(self, chance: Random) -> int:
        data = chance.choice(self._specimen.blobs)
        reply = once(self._peer.url, f"/outlast/v1/blobs/{Digest.of(data)}")
        if reply.status == 200:
            self._judge("a node", data, reply.body)
        return reply.status == 200

    def _by_link(self, chance: Random) -> int:
        """Of what `run` starts, too."""
        name = chance.choice(list(self._specimen.files))
        folder = self._specimen.home.with_name(f"laid-out-{chance.random()}")
        home = self._specimen.home
        with self.still:
            call = outlast("link", name, "--folder", folder, "--home", home, home=home.parent)
            for path, data in self._specimen.files[name].items() if not call.code else ():
                if (folder / path).read_bytes() != data:
                    self.wrong.append(f"{name} {path} in a folder")
        self._stop.wait(0.05)  # others want the lock too, and it is not a fair one
        return not call.code


RECORDS = ("refs/*/*/*/main", "refs/*/*/*/.about", "second/refs/*/*/*/*")
KINDS = ("blobs/*/*", "capsules/*/*", "manifests/*.json", "sums/*/*", RECORDS)
"""Where rot strikes, in turns."""


def victim(home: Path, kind: str | Sequence[str], chance: Random, rotten: set[str]) -> Path | None:
    """A file of that kind; not one of which the other copy rots too."""
    patterns = (kind,) if isinstance(kind, str) else kind
    names = {path.relative_to(home).as_posix() for one in patterns for path in home.glob(one)}
    free = {
        name
        for name in names
        if not {name, f"second/{name}", name.removeprefix("second/")} & rotten
    }
    return home / chance.choice(sorted(free)) if free else None


@pytest.mark.torture
def test_rot_is_found_and_mended_and_never_served(specimen: Specimen) -> None:
    chance = Random(SEED)
    sizes = [1] * BITS + [SECTOR] * SECTORS
    chance.shuffle(sizes)
    kinds = itertools.cycle(KINDS)
    with Archive(specimen.home) as archive:
        peer = Peer(archive)
        for name in specimen.files:
            revision = archive.revision(RepoId.parse(name), "main")
            peer.shares.share(revision)
            for entry in revision.files:
                with suppress(OutlastError):
                    assert entry.sha256 is not None
                    payloads.tree(archive, entry.sha256, Form.PLAIN, Cancel())
        with (
            Node(specimen.home, "--upstream", specimen.hub.url) as hub,
            peer.serving(),
            Clients(specimen, hub, peer) as clients,
        ):
            while sizes:
                batch, sizes = sizes[:TOGETHER], sizes[TOGETHER:]
                rotten: set[str] = set()
                for size in batch:
                    path = victim(specimen.home, next(kinds), chance, rotten)
                    if path is not None:
                        with clients.still:
                            rot(path, chance, size)
                        rotten.add(path.relative_to(specimen.home).as_posix())
                found = mended(specimen)
                assert [one for one in found if not one.mended] == []
                with clients.still:  # another name changes a file that is being read, too
                    assert all(
                        contents(specimen.home, name) == files
                        for name, files in specimen.files.items()
                    )
            assert mended(specimen) == ()
        assert all(clients.answers)
    assert clients.wrong == []
    for name, files in specimen.files.items():
        assert contents(specimen.home, name) == files


@pytest.mark.torture
def test_rot_of_the_index_is_found_or_harms_nothing(specimen: Specimen) -> None:
    chance = Random(SEED)
    for size in [1] * rounds(3, 100) + [SECTOR] * rounds(2, 20):
        rot(specimen.home / "index.sqlite", chance, size)
        assert [one for one in mended(specimen) if not one.mended] == []
        with Archive(specimen.home) as archive:
            assert not archive.index.differs()
    for name, files in specimen.files.items():
        assert contents(specimen.home, name) == files


@pytest.mark.torture
def test_rot_of_parity_is_found_and_written_anew(specimen: Specimen) -> None:
    """As it was, from bytes that were compared; and no blob is taken for damaged."""
    chance = Random(SEED)
    with Archive(specimen.home) as archive, ScrubCursor(specimen.home) as cursor:

        def scrubbed() -> tuple[FoundDamage, ...]:
            keeper = ParityKeeper(archive, Share.of_percent(5.0))
            return scrub(archive, cursor, ScrubWishes(), None, Control(), parity=keeper).found

        assert scrubbed() == ()
        written = {path: path.read_bytes() for path in specimen.home.glob("parity/**/*.olp")}
        assert len(written) >= len(specimen.files)
        for size in [1] * rounds(5, 200) + [SECTOR] * rounds(2, 40):
            path = chance.choice(sorted(written))
            rot(path, chance, size)
            (found,) = scrubbed()
            assert (found.kind, found.mended) == (DamagedPart.PARITY, True)
            assert specimen.home / found.path == path
            assert path.read_bytes() == written[path]
        assert scrubbed() == ()
