"""A torrent of a crowd, with libtorrent; what it chooses is tested in `test_picker`."""

from pathlib import Path

from outlast.codec.merkle import PIECE
from outlast.swarm.client import torrent as torrents
from outlast.swarm.tuning import ClientTuning
from tests.swarm.sessions import DATA, TREE, connect, peer
from tests.swarm.sites import until

PATIENT, IMPATIENT = ClientTuning(yield_patience_s=600.0), ClientTuning(yield_patience_s=0.0)


def test_a_node_whose_stripe_is_complete_leaves_the_seed_to_others(tmp_path: Path) -> None:
    """It takes the rest from its peers, and helps with the pieces that they are far from."""
    with (
        peer(tmp_path / "a") as a,
        peer(tmp_path / "b", tuning=PATIENT) as b,
        peer(tmp_path / "c") as c,
    ):
        b.path.write_bytes(DATA)
        ours = b.fetch(bytes(index % 2 == 0 for index in range(TREE.count)))
        theirs = c.fetch()
        for index in range(TREE.count):
            theirs.leave_out(index)
        ours.take_stripe(0, 2)
        connect(ours, c)
        until(lambda: _peers(ours, seeds=False), "they are connected")
        ours.yield_seeds()
        seed = a.seed()
        connect(seed, b)
        until(lambda: _peers(ours, seeds=True), "the seed is there")
        theirs.give(1, DATA[PIECE : 2 * PIECE])

        def came() -> bool:
            ours.yield_seeds()
            return ours.has(1)

        until(came, "what the other has")
        last = range(7, TREE.count, 2)

        def helped() -> bool:
            ours.yield_seeds()
            return all(map(ours.has, last))

        until(helped, "what the other is far from")
        ours.yield_seeds()
        assert not ours.has(3)
        assert not ours.has(5)
        assert seed.view().up <= (len(last) + 1) * PIECE


def test_the_seed_is_asked_again_when_nothing_comes_from_peers(tmp_path: Path) -> None:
    with (
        peer(tmp_path / "a") as a,
        peer(tmp_path / "b", tuning=IMPATIENT) as b,
        peer(tmp_path / "c") as c,
    ):
        b.path.write_bytes(DATA)
        ours = b.fetch(bytes(index % 2 == 0 for index in range(TREE.count)))
        theirs = c.fetch()
        for index in range(TREE.count):
            theirs.leave_out(index)
        ours.take_stripe(0, 2)
        connect(ours, c)
        until(lambda: _peers(ours, seeds=False), "they are connected")
        connect(a.seed(), b)

        def is_whole() -> bool:
            ours.yield_seeds()
            return all(ours.has(index) for index in range(1, TREE.count, 2))

        until(is_whole, "the rest, from the seed")


def _peers(torrent: torrents.Torrent, *, seeds: bool) -> bool:
    """Whether such a one is connected."""
    return any(not p.connecting and (p.progress >= 1) == seeds for p in torrent.peers())
