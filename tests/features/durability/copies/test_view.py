"""What follows from what nodes say of copies."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.keep_list import Goal
from outlast.core.names import RepoId
from outlast.features.durability.copies.memory import FailedBlock, Memory, Peer
from outlast.features.durability.copies.own import OwnCopies
from outlast.features.durability.copies.view import CopiesView, Own, merged, statuses, view
from outlast.features.durability.settings import CopiesSettings
from outlast.sources.peer_documents import CopiesSaid, HeldAs, HolderSeen, ManifestSaid
from outlast.store.archive import Archive

DAY = 86_400.0
ME, A, B, C = (letter * 16 for letter in "0abc")
M = Digest.of(b"m")


def row(
    held: HeldAs, *seen: HolderSeen, goal: Goal | None = None, failed: str = ""
) -> ManifestSaid:
    name = RepoId.parse("org/m")
    return ManifestSaid(
        M, name, GitOid.of_blob(b""), 10, held, goal, (failed,) if failed else (), seen
    )


def peer(holder: str, *rows: ManifestSaid, silent: float = 0.0, age: int = 0) -> Peer:
    return Peer(CopiesSaid(holder, "lan", 100, age, rows), "192.0.2.1", 8091, silent)


def found(mine: Sequence[ManifestSaid], *peers: Peer, failed: str = "") -> CopiesView:
    memory = Memory(ME, {one.said.holder: one for one in peers})
    if failed:
        memory.failed.add(FailedBlock(failed, M, Digest.of(b"b"), 7))
    return view(Own("lan", 100, {r.manifest: r for r in mine}, {}), memory, DAY)


def test_a_copy_counts_until_its_node_was_silent_for_long() -> None:
    mine = [row(HeldAs.OWN, goal=Goal(2))]
    here, gone = peer(A, row(HeldAs.COPY), silent=DAY), peer(A, row(HeldAs.COPY), silent=DAY + 1)
    [status] = statuses(found(mine, here, peer(B)))
    assert (status.copies, status.absent, status.met) == (2, 1, True)
    seen = found(mine, gone, peer(B))
    [status] = statuses(seen)
    assert (status.copies, status.absent, status.met) == (1, 0, False)
    assert seen.assignments[0].missing == (B,)


def test_the_goal_of_a_node_that_is_gone_holds_on() -> None:
    [status] = statuses(
        found([row(HeldAs.OWN)], peer(A, row(HeldAs.OWN, goal=Goal(3)), silent=9 * DAY))
    )
    assert (status.goal, status.copies) == (3, 1)


def test_a_failed_challenge_counts_here_and_at_peers_but_not_against_oneself() -> None:
    mine = [row(HeldAs.OWN, goal=Goal(2))]
    for seen in (
        found(mine, peer(A, row(HeldAs.COPY)), failed=A),
        found(mine, peer(A, row(HeldAs.COPY)), peer(B, row(HeldAs.NONE, failed=A))),
    ):
        [status] = statuses(seen)
        assert (status.copies, status.failed, status.met) == (1, 1, False)
    own = found(mine, peer(A, row(HeldAs.COPY)), failed=A)
    assert own.said.manifests[0].failed == (A,)
    [status] = statuses(found(mine, peer(A, row(HeldAs.COPY, failed=ME))))
    assert (status.copies, status.met) == (2, True)


def test_the_larger_goal_holds_on_all_nodes() -> None:
    mine = [row(HeldAs.OWN, goal=Goal(2))]
    seen = found(mine, peer(A, row(HeldAs.NONE, goal=Goal(3, ("lan",)))))
    assert seen.assignments[0].wanted.goal == Goal(3, ("lan",))
    assert seen.said.manifests[0].goal == Goal(2)  # its own word: others' goals are not passed on


def test_what_is_heard_of_holders_grows_old_and_is_forgotten() -> None:
    """Two nodes that tell each other of a third one, which is gone."""
    nodes = {A: peer(A, row(HeldAs.NONE, HolderSeen(C, 0))), B: peer(B, row(HeldAs.NONE))}
    for passed in range(1, 40):
        for name in (A, B):
            other = nodes[B if name == A else A]
            other.said = CopiesSaid(other.said.holder, "lan", 0, 3600, other.said.manifests)
            seen = merged([other], DAY)[M]
            nodes[name] = peer(name, row(HeldAs.NONE, *seen))
        ages = [s.age for one in nodes.values() for r in one.said.manifests for s in r.seen]
        assert all(age >= passed * 3600 for age in ages)
    assert not ages


def test_of_each_holder_the_newest_word_counts() -> None:
    peers = [
        peer(A, row(HeldAs.NONE, HolderSeen(C, 500)), age=5),
        peer(B, row(HeldAs.NONE, HolderSeen(C, 20, "192.0.2.9", 8091)), silent=30.0),
        peer(C, row(HeldAs.COPY), silent=600.0),
    ]
    assert merged(peers, DAY)[M] == [HolderSeen(C, 51, "192.0.2.9", 8091)]


def test_what_is_under_its_goal_comes_first() -> None:
    seen = found([row(HeldAs.OWN, goal=Goal(1))])
    own = Own("lan", 0, {M: row(HeldAs.OWN, goal=Goal(1))}, {"org/lost": Goal(2, ("s3",))})
    shown = statuses(view(own, Memory(ME), DAY))
    assert [(one.repo, one.met, one.sites) for one in shown] == [
        ("org/lost", False, "s3"),
        ("org/m", True, ""),
    ]
    assert seen.own == ME


@pytest.mark.parametrize("budget", [None, 5000])
def test_a_disk_that_does_not_know_its_size_offers_a_budget_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int | None
) -> None:
    known = os.statvfs(tmp_path)
    with Archive(tmp_path / "archive", create=True) as archive:
        settings = CopiesSettings(lists=(tmp_path / "list",), copies=budget)
        nothing: Any = None  # is shared here
        own = OwnCopies(archive, nothing, settings)
        values = [4096, 4096, 0, 0, 0, *known[5:]]
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
        assert own._free(1000) == (4000 if budget else 0)
