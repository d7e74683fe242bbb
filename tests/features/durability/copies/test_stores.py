"""A second home as a holder: it counts once a node read all of a model there, while it is right."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from outlast.bucket.home import SecondHome
from outlast.bucket.objects import open_objects
from outlast.core.digest import Digest
from outlast.core.errors import AccessDeniedError, Cancelled
from outlast.features.durability.copies.keeper import Change
from outlast.ops.second_home.check import check
from outlast.sources.settings import S3Place
from tests.bucket.s3server import S3Server
from tests.bucket.test_second_home import bucket
from tests.campaign import LONG
from tests.features.durability.copies.operated import DAY, Member, operated
from tests.store.test_cached import bring, key

SMALL, LARGE = os.urandom(5000), os.urandom(9 << 20)
ALONE = "org/base copies=2 where=lan,s3"


def bring_in(member: Member, *more: bytes) -> None:
    bring(member.archive, key("base"), SMALL, *more, mark=False)


def name_of(data: bytes) -> str:
    digest = Digest.of(data).hex
    return f"arch/blobs/{digest[:2]}/{digest}"


def folder(path: Path) -> SecondHome:
    return SecondHome(open_objects(f"file://{path}", S3Place(), create=True))


def test_a_store_counts_when_all_of_it_was_read_there(tmp_path: Path) -> None:
    with S3Server() as server, operated(tmp_path, ALONE, [lambda: bucket(server)]) as [one]:
        bring_in(one, LARGE)
        one.step()
        assert (one.goal.met, one.goal.sites) == (False, "s3")
        assert one.goal.note == "this node is to copy it to the store at s3"
        server.asked.clear()
        done = one.until(Change.STORED)
        assert done.store == "s3://models/arch"
        assert ("GET", name_of(SMALL)) in server.asked  # it was read again
        one.step()
        assert (one.goal.met, one.goal.copies, one.goal.stores) == (True, 2, "s3")
        assert check(bucket(server), [], one.control).problems == ()
        sent = [asked for asked in server.asked if asked[0] == "PUT"]
        assert one.step()[1] == []
        assert [asked for asked in server.asked if asked[0] == "PUT"] == sent


def test_a_folder_is_a_store_too_and_where_is_not_named_it_does_not_count(tmp_path: Path) -> None:
    place = tmp_path / "there"
    with operated(tmp_path, "org/base copies=2", [lambda: folder(place)]) as [one]:
        bring_in(one)
        for _ in range(3):
            assert one.step()[1] == []
        assert (one.goal.met, one.goal.copies) == (False, 1)
        (tmp_path / "n0.txt").write_text(f"{ALONE}\n")
        one.until(Change.STORED)
        one.step()
        assert one.goal.met
    with operated(tmp_path, "org/base copies=2", [lambda: folder(place)]) as [one]:
        one.step()
        assert (one.goal.met, one.goal.copies) == (False, 1)


def test_what_the_store_does_not_keep_right_is_not_counted(tmp_path: Path) -> None:
    """It takes each upload, and gives something else back."""

    class Liar(dict[str, bytes]):
        def __setitem__(self, name: str, data: bytes) -> None:
            wrong = data[:-1] + bytes([data[-1] ^ 1]) if name == name_of(LARGE) else data
            super().__setitem__(name, wrong)

    with S3Server() as server, operated(tmp_path, ALONE, [lambda: bucket(server)]) as [one]:
        server.objects = Liar()
        bring_in(one, LARGE)
        done = one.until(Change.FAILED)
        assert "does not keep it" in done.why
        one.step()
        assert (one.goal.met, one.goal.stores) == (False, "")
        server.objects = dict(server.objects)


class Refusing(SecondHome):
    """A second home that a node may read, and not write."""

    def put_bytes(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        raise AccessDeniedError(f"the store does not take {name} ({size} bytes, {chunks})")


BOTH = "org/base copies=3 where=lan,s3"


def two_that_hold(nodes: list[Member]) -> tuple[Member, Member]:
    """Both get the model; then the one that is to copy it to the store, and the other."""
    for node in nodes:
        bring_in(node, LARGE)
    for node in (*nodes, *nodes):
        found, done = node.step()
        if len(found.answered) == 1 and len(found.view.assignments[0].counted) == 2:
            break
        assert done == []
    [assignment] = found.view.assignments
    carrier = found.view.carrier(assignment, *found.stores)
    first, other = sorted(nodes, key=lambda one: one.holder != carrier)
    return first, other


def test_a_node_that_dies_in_the_middle_is_taken_over(tmp_path: Path) -> None:
    with S3Server() as server, operated(tmp_path, BOTH, [lambda: bucket(server)] * 2) as nodes:
        carrier, other = two_that_hold(nodes)

        def die(method: str, name: str) -> str:
            if method == "POST" and name == name_of(LARGE):
                carrier.control.cancel.set()
            return ""

        server.faults.append(die)

        def both() -> None:
            for _ in range(4):
                other.step()
                carrier.step()

        with pytest.raises(Cancelled):
            both()
        carrier.leave()
        server.faults.clear()
        assert bucket(server).repos() == []
        other.until(Change.STORED)
        other.step()
        assert other.goal.stores == "s3"
        assert (other.goal.met, other.goal.absent) == (True, 1)
        assert check(bucket(server), [], other.control).problems == ()


def test_where_the_store_refuses_one_node_another_copies(tmp_path: Path) -> None:
    with S3Server() as server, operated(tmp_path, BOTH, [lambda: bucket(server)] * 2) as nodes:
        carrier, other = two_that_hold(nodes)
        for home in carrier.homes:
            home.__class__ = Refusing
        done = []
        for _ in range(6):
            done += [(node, one.change) for node in nodes for one in node.step()[1]]
        assert done == [(carrier, Change.FAILED), (other, Change.STORED)]
        assert carrier.goal.met
        assert other.goal.met


def test_the_word_of_another_node_counts_and_nothing_is_copied_twice(tmp_path: Path) -> None:
    with S3Server() as server, operated(tmp_path, BOTH, [lambda: bucket(server), None]) as nodes:
        for node in nodes:
            bring_in(node, LARGE)
        for _ in range(4):
            for node in nodes:
                node.step()
        assert [node.goal.stores for node in nodes] == ["s3", "s3"]
        assert all(node.goal.met for node in nodes)
        assert sum(name == name_of(LARGE) and m == "PUT" for m, name in server.asked) == 2  # parts


def test_a_store_gives_a_lost_copy_back(tmp_path: Path) -> None:
    """The only node that had the model is gone: another gets it from the store."""
    with S3Server() as server, operated(tmp_path, ALONE, [lambda: bucket(server)] * 2) as nodes:
        bring_in(nodes[0], LARGE)
        nodes[0].until(Change.STORED)
        nodes[0].step()
        nodes[1].step()
        nodes[0].leave()
        done = []
        for _ in range(5):  # the word of a node that is gone does not count
            done += [one.change for one in nodes[1].step(passed=DAY + 1)[1]]
        assert done == [Change.FETCHED, Change.STORED]  # all is there: it is read, and counts
        repo, commit = key("base")
        assert nodes[1].archive.revision(repo, "main").id == commit
        assert (nodes[1].goal.met, nodes[1].goal.stores) == (True, "s3")
        assert sum(m == "PUT" and n == name_of(LARGE) for m, n in server.asked) == 2  # parts, once


def test_shrink_asks_the_store_and_drops_nothing_there(tmp_path: Path) -> None:
    with S3Server() as server, operated(tmp_path, BOTH, [lambda: bucket(server)] * 2) as nodes:
        bring_in(nodes[0], LARGE)
        for _ in range(8):
            for node in nodes:
                node.step()
        assert all(node.goal.met and node.goal.copies == 3 for node in nodes)
        for number in range(2):
            (tmp_path / f"n{number}.txt").write_text(f"{ALONE}\n")
        for node in (*nodes, *nodes):
            node.step()
        before = dict(server.objects)
        server.objects[name_of(LARGE)] = bytes(len(LARGE))
        [kept] = nodes[1].keeper.shrink(dry_run=False)
        assert (kept.change, kept.why) == (Change.KEPT, "only 1 of 2 others prove to have it")
        server.objects = before
        [dropped] = nodes[1].keeper.shrink(dry_run=False)
        assert dropped.change is Change.DROPPED
        assert server.objects == before
        assert list(nodes[0].keeper.shrink(dry_run=False)) == []


_LONG = pytest.mark.skipif(not LONG, reason="as the other one: make torture")
_MORE = [pytest.param(what, marks=[pytest.mark.torture, _LONG]) for what in ("gone", "truncated")]


@pytest.mark.parametrize("what", ["damaged", *_MORE])
def test_what_the_store_loses_is_seen_and_put_there_again(tmp_path: Path, what: str) -> None:
    with (
        S3Server() as server,
        operated(tmp_path, ALONE, [lambda: bucket(server)], challenges=100) as [one],
    ):
        bring_in(one, LARGE)
        one.until(Change.STORED)
        one.step()
        assert one.goal.met
        name = name_of(LARGE)
        if what == "gone":
            del server.objects[name]
        elif what == "truncated":
            server.objects[name] = server.objects[name][:-1]
        else:
            wrong = bytearray(LARGE)
            wrong[len(wrong) // 2] ^= 1
            server.objects[name] = bytes(wrong)
        found, done = one.step(passed=DAY)
        assert [url for url, _ in found.lost] == ["s3://models/arch"]
        assert not found.view.assignments[0].met
        assert [d.change for d in done] == [Change.STORED]
        assert any("does not count" in note for note in one.notes)
        assert server.objects[name] == LARGE
        one.step()
        assert one.goal.met


def test_a_store_that_is_silent_counts_for_a_while(tmp_path: Path) -> None:
    with (
        S3Server() as server,
        operated(tmp_path, ALONE, [lambda: bucket(server)], every=DAY / 2) as [one],
    ):
        bring_in(one)
        one.until(Change.STORED)
        server.fail("503", 10_000)
        one.step(passed=DAY / 2)
        assert (one.goal.met, one.goal.absent) == (True, 1)
        one.step(passed=DAY)
        one.step(passed=DAY)
        assert (one.goal.met, one.goal.sites) == (False, "s3")
        server.faults.clear()
        one.step()
        assert one.goal.met


def test_a_folder_that_is_not_mounted_is_no_new_store(tmp_path: Path) -> None:
    place = tmp_path / "there"
    with operated(tmp_path, ALONE, [lambda: folder(place)]) as [one]:
        bring_in(one)
        one.until(Change.STORED)
        place.rename(tmp_path / "away")
        for _ in range(3):
            assert one.step()[1] == []
        assert not (place / "blobs").exists()
        assert any("there is no archive" in note for note in one.notes)


def test_cancelled_in_the_middle_it_goes_on_later(tmp_path: Path) -> None:
    with S3Server() as server, operated(tmp_path, ALONE, [lambda: bucket(server)]) as [one]:
        bring_in(one, LARGE)
        one.step()

        def stop(method: str, name: str) -> str:
            if method == "POST" and name == name_of(LARGE):
                one.control.cancel.set()
            return ""

        server.faults.append(stop)
        with pytest.raises(Cancelled):
            one.step()
        assert name_of(SMALL) in server.objects
        assert bucket(server).repos() == []
