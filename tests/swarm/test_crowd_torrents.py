"""What a torrent asks for while it is one of a crowd."""

from pathlib import Path

import pytest

from outlast.codec.merkle import PIECE
from outlast.swarm import choice
from outlast.swarm import torrent as torrents
from outlast.swarm.trial import PIECES, Trial
from tests.swarm.sessions import DATA, TREE, connect, peer
from tests.swarm.sites import until


class TestTrial:
    def test_few_pieces_at_first(self) -> None:
        trial = Trial(range(100))
        assert trial
        assert sum(map(trial.allows, range(100))) == PIECES

    def test_it_ends_once_when_they_came(self) -> None:
        trial = Trial(range(10, 100), in_order=True)
        assert [index for index in range(100) if trial.allows(index)] == [10, 99]
        assert not trial.ends({10, 50})
        assert trial.ends({10, 99})
        assert not trial
        assert all(map(trial.allows, range(100)))
        assert not trial.ends({10, 99})

    def test_there_is_none_of_few(self) -> None:
        trial = Trial(range(2 * PIECES))
        assert not trial
        assert trial.allows(0)
        assert not trial.ends(())

    def test_it_ends_where_nobody_has_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("outlast.swarm.trial._SECONDS", 0.0)
        trial = Trial(range(100))
        until(lambda: trial.ends(()), "it ends")


def test_who_has_its_stripe_leaves_the_seed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the rest from the crowd; and from the seed, when nothing comes from there."""
    monkeypatch.setattr(choice, "_PATIENCE_SECONDS", 600.0)
    with peer(tmp_path / "a") as a, peer(tmp_path / "b") as b, peer(tmp_path / "c") as c:
        b.path.write_bytes(DATA)
        ours = b.fetch(bytes(index % 2 == 0 for index in range(TREE.count)))
        theirs = c.fetch()
        for index in range(TREE.count):
            theirs.leave_out(index)
        ours.take_stripe(0, 2)
        connect(ours, c)
        until(lambda: _peers(ours, seeds=False), "they are connected")
        ours.spare()
        seed = a.seed()
        connect(seed, b)
        until(lambda: _peers(ours, seeds=True), "the seed is there")
        theirs.give(1, DATA[PIECE : 2 * PIECE])

        def came() -> bool:
            ours.spare()
            return ours.has(1)

        until(came, "what the other has")
        assert not any(ours.has(index) for index in range(3, TREE.count, 2))
        assert seed.view().up <= PIECE
        monkeypatch.setattr(choice, "_PATIENCE_SECONDS", 0.0)

        def is_whole() -> bool:
            ours.spare()
            return all(ours.has(index) for index in range(1, TREE.count, 2))

        until(is_whole, "the rest, from the seed")


def _peers(torrent: torrents.Torrent, *, seeds: bool) -> bool:
    """Whether such a one is connected."""
    return any(not p.connecting and (p.progress >= 1) == seeds for p in torrent.peers())
