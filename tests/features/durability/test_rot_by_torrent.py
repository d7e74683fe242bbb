"""Rot beside an ordinary BitTorrent client: libtorrent reads by itself what it seeds, unlike all
others that read an archive. It hands on what it finds; the client's own check refuses it.
"""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from outlast.codec.merkle import PIECE
from outlast.swarm.torrent import payload_torrent
from tests.campaign import LONG, SEED, rounds
from tests.features.durability.plain_client import Came, fetch
from tests.features.durability.test_rot_campaign import SECTOR, mended, rot, specimen, victim
from tests.features.durability.test_rot_campaign import Specimen as Rotten
from tests.net import Host, Net, needs_lab
from tests.net.node import Node
from tests.rot import damage
from tests.swarm.sessions import DATA, TREE, peer

__all__ = ["specimen"]

ROUNDS = rounds(1, 30)
MB = 1_000_000
_OURS = 8090
_SETTINGS = f'[swarm]\nport = {_OURS}\n[durability]\nscrub = "off"\nmend = false\n'


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="ten seconds: make torture")
def test_a_client_refuses_what_rotted_after_a_seed_began(tmp_path: Path) -> None:
    """libtorrent compares a piece once, before it is first sent: what rots before then it does not
    offer. What rots later is sent, and the client accepts none of it, and all the rest.
    """
    torrent = tmp_path / "payload.torrent"
    torrent.write_bytes(payload_torrent.torrent(TREE))
    early, late = (3, 11), (4, 12, 17)

    def came(client: str, enough: int) -> Came:
        files = {TREE.root.hex: DATA}
        return fetch(torrent, tmp_path / client, files, seed.address, enough=enough)

    with peer(tmp_path / "seed") as seed:
        seed.seed()
        rot_pieces(seed.path, early)
        first = came("first", TREE.count - len(early))
        assert (first.accepted, first.wrong, first.refused) == (TREE.count - len(early), (), 0)
        rot_pieces(seed.path, late)
        second = came("second", TREE.count)
        assert second.wrong == ()
        assert second.refused
        assert second.accepted <= TREE.count - len(early) - len(late)


def rot_pieces(path: Path, pieces: Sequence[int]) -> None:
    """A byte of each of them changes, in the file that is open elsewhere."""
    damage(path, *((number + 0.5) * PIECE / len(DATA) for number in pieces))


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


class Holder:
    """A node that seeds the torrents of all that a specimen holds."""

    def __init__(self, host: Host, specimen: Rotten, out: Path) -> None:
        self._node = Node(
            host, settings=f'[swarm]\nport = {_OURS}\n[durability]\nscrub = "off"\nmend = false\n'
        )
        self._node.home = specimen.home
        self.address = (host.address, _OURS)
        self._node.serve()
        self.torrents: dict[str, Path] = {}
        for name in specimen.files:
            folder = out / name.replace("/", "-")
            self._node.run("share", name, "--out", folder)
            (self.torrents[name],) = folder.glob("*.torrent")


@pytest.mark.net
@pytest.mark.torture
@needs_lab()
@pytest.mark.skipif(not LONG, reason="make torture")
def test_rot_while_clients_fetch(net: Net, specimen: Rotten, tmp_path: Path) -> None:
    """In each round a client that has nothing fetches a model while some of it rots, beneath the
    file that is open or as a file of another inode; afterwards all is mended.
    """
    chance = Random(SEED)
    lan = net.lan()
    holder, client = Holder(lan.host("holder"), specimen, tmp_path), lan.host("client")
    told: list[Came] = []

    def ask(name: str, rate: int) -> threading.Thread:
        """Begins to fetch a model into a folder of its own."""

        def work() -> None:
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
                told.append(
                    fetch(
                        holder.torrents[name],
                        Path(folder),
                        specimen.files[name],
                        holder.address,
                        listens=f"{client.address}:0",
                        rate=rate,
                    )
                )

        with client.inside():  # libtorrent's threads stay there
            asking = threading.Thread(target=work)
            asking.start()
        return asking

    def all_is_right() -> None:
        """Clients get all of each model."""
        for name in specimen.files:
            ask(name, 0).join()
            assert told[-1].whole
            assert told[-1].wrong == ()

    all_is_right()  # libtorrent has compared each piece, once
    for _ in range(ROUNDS):
        asking = ask(chance.choice(sorted(specimen.files)), 4 * MB)
        asking.join(chance.random())
        rotten: set[str] = set()
        for kind in ("blobs/*/*", "capsules/*/*"):
            path = victim(specimen.home, kind, chance, rotten)
            if path is not None:
                if chance.random() < 0.5:
                    damage(path, chance.random())
                else:
                    rot(path, chance, chance.choice((1, SECTOR)))
                rotten.add(path.relative_to(specimen.home).as_posix())
        asking.join()
        assert [one for one in mended(specimen) if not one.mended] == []
    all_is_right()
    figures = {
        "clients": len(told),
        "accepted": sum(one.accepted for one in told),
        "refused": sum(one.refused for one in told),
        "wrong": sum(len(one.wrong) for one in told),
    }
    print(figures)
    assert figures["clients"] == ROUNDS + 2 * len(specimen.files)
    assert figures["wrong"] == 0
    assert figures["refused"]
