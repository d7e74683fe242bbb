"""Pulling from nodes alone: each file comes as its bytes, by whatever way, or the pull says why."""

import logging
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from outlast.codec.hashing import names_of
from outlast.codec.payload import Form, Payload
from outlast.core.digest import Digest
from outlast.core.errors import Cancelled, OutlastError
from outlast.core.events import FileWaiting
from outlast.core.names import RepoId
from outlast.fetch.source_state import Patience
from outlast.fetch.tuning import Tuning as FetchTuning
from outlast.intake.form_policy import FormWishes
from outlast.node import payloads
from outlast.node.node import Node
from outlast.node.tuning import Tuning as NodeTuning
from outlast.p2p.tuning import TUNING, Tuning
from outlast.sources.base import RangeReader
from outlast.store.records.facts import About
from outlast.swarm.client.torrent import Torrent
from outlast.swarm.lan.datagrams import Want, Wish, want_key
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import SwarmSettings
from tests.noise import noise
from tests.ports import free_port
from tests.pull.kit import check_archive
from tests.serve.forms import floats, pack, tuned
from tests.swarm.sites import MODEL, SECONDS, Origin, Running, Site, site, until

MIB = 1 << 20
LARGE = noise(51, 9 * MIB + 7)
SIZES = {
    "empty": b"",
    "one": b"x",
    "1": noise(52, MIB),
    "4": noise(53, 4 * MIB),
    "more": noise(54, 4 * MIB + 1),
    "large": LARGE,
    "sub/twin": LARGE,
}
PACKED = FormWishes()


def check(node: Site, files: Mapping[str, bytes], target: str = "org/model") -> None:
    check_archive(node.home)
    found = node.files(target)
    assert found.keys() == files.keys()
    assert [path for path in files if files[path] != found[path]] == []


def prepare(home: Path, files: Mapping[str, bytes], *packed: tuple[str, str | None]) -> None:
    """An archive with a model, of which some files are capsules; those with a base are deltas."""
    with site(home) as node:
        node.hold(files)
    for path, base in packed:
        name = None if base is None else Digest.of(files[base]).hex
        pack(home, Digest.of(files[path]).hex, name)


def seeds(node: Site, files: Mapping[str, bytes]) -> None:
    """Waits until all that a node has is known with its trees."""
    count = len({data for data in files.values() if data})
    until(lambda: node.seeds() >= count, "it seeds all that it has")


class TestFiles:
    @pytest.mark.parametrize("http", [True, False])
    def test_sizes(self, tmp_path: Path, *, http: bool) -> None:
        with site(tmp_path / "a", files=SIZES) as a, site(tmp_path / "b", a) as b:
            pulled = Running(lambda: b.pull(http=http)).result()
            check(b, SIZES)
            size = sum(map(len, set(SIZES.values())))
            by_http = sum(n for name, n in pulled.fetched.items() if name.startswith("peer "))
            assert by_http == (size if http else 0)
            assert not pulled.partial

    def test_many_small_ones(self, tmp_path: Path) -> None:
        """More than are looked at, and asked for, at once."""
        files = {f"{number:04}": b"%d" % number for number in range(TUNING.ask_ahead + 100)}
        with site(tmp_path / "a", files=files) as a, site(tmp_path / "b", a) as b:
            asked = a.server
            Running(b.pull).result()
            assert b.files() == files
            assert asked.sent == sum(map(len, files.values()))

    def test_a_model_that_was_added(self, tmp_path: Path) -> None:
        """It has no commit of a hub."""
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            revision = a.hold(SIZES, commit=None)
            Running(b.pull).result()
            check(b, SIZES)
            assert b.archive.revision(MODEL, "main").digest == revision.digest

    def test_a_dataset(self, tmp_path: Path) -> None:
        name = "datasets/org/data"
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            a.hold(SIZES, RepoId.parse(name))
            Running(lambda: b.pull(name)).result()
            check(b, SIZES, name)

    def test_on_from_who_fetched_it(self, tmp_path: Path) -> None:
        with site(tmp_path / "a", files=SIZES) as a, site(tmp_path / "b", a) as b:
            Running(b.pull).result()
            a.node.close()
            a.server.close()
            with site(tmp_path / "c", b) as c:
                Running(lambda: c.pull(http=False)).result()
                check(c, SIZES)

    def test_two_on_one_archive(self, tmp_path: Path) -> None:
        """Each file is fetched by one of them."""
        with (
            site(tmp_path / "a", files=SIZES) as a,
            site(tmp_path / "b", a) as b,
            site(tmp_path / "b", a) as again,
        ):
            both = [Running(b.pull), Running(again.pull)]
            for running in both:
                running.result()
            check(b, SIZES)
            assert a.server.sent <= sum(map(len, SIZES.values()))


class TestCapsules:
    FILES = {"base": floats(9), "tuned": tuned(floats(9))}  # noqa: RUF012 - never changed

    def test_it_comes_as_it_lies_there(self, tmp_path: Path) -> None:
        files = {"base": self.FILES["base"]}
        prepare(tmp_path / "a", files, ("base", None))
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            seeds(a, files)
            pulled = Running(lambda: b.pull(forms=PACKED)).result()
            check(b, files)
            size = a.archive.form_of(Digest.of(files["base"])).stored_bytes
            assert pulled.fetched[f"peer 127.0.0.1:{a.server.port}"] == size
            assert b.archive.form_of(Digest.of(files["base"])).form is Form.CAPSULE

    def test_and_plain_where_that_is_wished(self, tmp_path: Path) -> None:
        files = {"base": self.FILES["base"]}
        prepare(tmp_path / "a", files, ("base", None))
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            seeds(a, files)
            Running(b.pull).result()
            check(b, files)
            assert b.archive.form_of(Digest.of(files["base"])).form is Form.PLAIN

    def test_more_thin_ones_than_are_begun_at_once(self, tmp_path: Path) -> None:
        """Their bases are no part of what is pulled: they are fetched first."""
        bases = {f"base-{n}": floats(9, seed=n) for n in range(18)}
        files = {f"tuned-{n}": tuned(bases[f"base-{n}"]) for n in range(18)}
        with site(tmp_path / "a") as a:
            a.hold(bases, RepoId.parse("org/base"))
            a.hold(files)
        for number in range(18):
            base = Digest.of(bases[f"base-{number}"]).hex
            pack(tmp_path / "a", Digest.of(files[f"tuned-{number}"]).hex, base)
            pack(tmp_path / "a", base)
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            seeds(a, files | bases)
            Running(lambda: b.pull(forms=PACKED)).result()
            check(b, files)
            forms = [b.archive.form_of(Digest.of(data)).form for data in files.values()]
            assert forms == [Form.DELTA] * 18

    def test_a_thin_one_whose_base_is_here(self, tmp_path: Path) -> None:
        prepare(tmp_path / "a", self.FILES, ("tuned", "base"))
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            b.hold({"base": self.FILES["base"]}, RepoId.parse("org/base"))
            seeds(a, self.FILES)
            Running(lambda: b.pull(forms=PACKED)).result()
            check(b, self.FILES)
            size = a.archive.form_of(Digest.of(self.FILES["tuned"])).stored_bytes
            assert a.server.sent == size


FALSE = LARGE.translate(bytes(byte ^ 1 for byte in range(256)))


class TestLies:
    """A peer says something of its payloads that is not so: nothing wrong is acknowledged."""

    def test_a_false_root(self, tmp_path: Path) -> None:
        """All of its pieces are those of the root, and the whole is another file."""
        files = {"large": LARGE}
        with (
            site(tmp_path / "liar") as liar,
            site(tmp_path / "b", liar) as b,
        ):
            liar.claim("large", LARGE, FALSE)
            origin = Origin(files)
            Running(lambda: b.pull("org/model", origin)).result()
            check(b, files)
            assert b.banned == {f"peer 127.0.0.1:{liar.server.port}"}
            assert origin.sent == len(LARGE)

    def test_a_false_root_and_an_honest_peer(self, tmp_path: Path) -> None:
        files = {"large": LARGE}
        with (
            site(tmp_path / "liar") as liar,
            site(tmp_path / "honest", files=files) as honest,
            site(tmp_path / "b", liar, honest) as b,
        ):
            liar.claim("large", LARGE, FALSE)
            Running(lambda: b.pull("org/model", Origin(files, dark=True))).result()
            check(b, files)
            assert b.banned <= {f"peer 127.0.0.1:{liar.server.port}"}

    def test_only_a_liar(self, tmp_path: Path) -> None:
        files = {"large": LARGE}
        with site(tmp_path / "liar") as liar, site(tmp_path / "b", liar) as b:
            liar.claim("large", LARGE, FALSE)
            with pytest.raises(OutlastError):
                Running(lambda: b.pull("org/model", Origin(files, dark=True))).result()
            assert b.done == set()
            assert not b.archive.has(Digest.of(LARGE), len(LARGE))

    def test_wrong_pieces(self, tmp_path: Path) -> None:
        """Its file is not what its tree says: found at the first piece."""
        with (
            site(tmp_path / "liar", files={"large": LARGE}) as liar,
            site(tmp_path / "honest", files={"large": LARGE}) as honest,
            site(tmp_path / "b", liar, honest) as b,
        ):
            flipped = payloads.path(liar.archive, PLAIN_LARGE)
            flipped.chmod(0o644)
            flipped.write_bytes(FALSE)
            Running(b.pull).result()
            check(b, {"large": LARGE})
            assert b.banned <= {f"peer 127.0.0.1:{liar.server.port}"}

    def test_a_capsule_of_something_else(self, tmp_path: Path) -> None:
        real, false = floats(9), floats(9, seed=2)
        assert len(real) == len(false)
        files = {"w": real}
        with (
            site(tmp_path / "liar") as liar,
            site(tmp_path / "honest", files=files) as honest,
            site(tmp_path / "b", liar, honest) as b,
        ):
            liar.claim_capsule("w", real, false)
            Running(lambda: b.pull(forms=PACKED)).result()
            check(b, files)
            assert b.banned == {f"peer 127.0.0.1:{liar.server.port}"}

    def test_a_base_that_is_another(self, tmp_path: Path) -> None:
        """The capsule of the base restores something else: the file comes another way."""
        files = TestCapsules.FILES
        base = Digest.of(files["base"])
        with site(tmp_path / "liar") as liar:
            liar.hold({"base": files["base"]}, RepoId.parse("org/base"))
            liar.hold({"tuned": files["tuned"]})
        pack(tmp_path / "liar", Digest.of(files["tuned"]).hex, base.hex)
        with site(tmp_path / "liar") as liar:
            seeds(liar, files)
        with site(tmp_path / "liar") as liar:
            liar.archive.layout.blob(base).unlink()
            repo = RepoId.parse("org/base")
            liar.claim_capsule("base", files["base"], floats(9, seed=2), repo)
        with (
            site(tmp_path / "liar") as liar,
            site(tmp_path / "honest", files={"tuned": files["tuned"]}) as honest,
            site(tmp_path / "b", liar, honest) as b,
        ):
            Running(lambda: b.pull(forms=PACKED)).result()
            check(b, {"tuned": files["tuned"]})
            assert b.banned == {f"peer 127.0.0.1:{liar.server.port}"}


_NAMES = names_of(LARGE)
assert _NAMES.merkle_root is not None
PLAIN_LARGE = Payload(_NAMES.sha256, Form.PLAIN, len(LARGE), _NAMES.merkle_root)


class TestTrouble:
    def test_what_no_node_has(self, tmp_path: Path) -> None:
        """The rest comes, and the pull says what is lacking; it does not wait for ever."""
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            revision = a.hold(SIZES)
            a.archive.layout.blob(Digest.of(LARGE)).unlink()
            a.archive.layout.blob(Digest.of(b"x")).unlink()
            with pytest.raises(OutlastError, match=r"no source has|has no"):
                Running(b.pull).result()
            assert b.done == {e.path for e in revision.files} - {"large", "sub/twin", "one"}

    def test_the_only_peer_goes_and_returns(self, tmp_path: Path) -> None:
        """What came stays, and the rest comes when it is back, without a new pull."""
        often = NodeTuning(ask_again=0.5, static_again=0.5)
        files = {"large": LARGE + LARGE}
        slow = SwarmSettings(rates=Rates(lan_up=4 * MIB))
        with ExitStack() as first:
            a = first.enter_context(site(tmp_path / "a", files=files, settings=slow))
            port = a.server.port
            with site(tmp_path / "b", a, tuning=often) as b:
                pulling = Running(lambda: b.pull(tuning=Tuning(retry_lost=0.5)))
                until(lambda: pieces(b) > 4, "some pieces came")
                first.close()
                had = pieces(b)
                until(lambda: not b.node.contacts.neighbours(), "it is seen to be gone")
                assert not pulling.over
                with site(tmp_path / "a", port=port) as again:
                    pulling.result()
                    check(b, files)
                    assert again.server.sent <= len(files["large"]) - (had - 1) * MIB

    def test_its_swarm_port_is_closed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {"large": LARGE}
        with (
            site(tmp_path / "a", files=files, swarm_port=9) as a,
            site(tmp_path / "b", a) as b,
        ):
            monkeypatch.setattr(b.node.election, "count_wanting", lambda *_: 1)
            Running(lambda: b.pull(tuning=Tuning(stalled_after=0.5))).result()
            check(b, files)

    def test_a_crowd(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same where it is open: all comes through the swarm."""
        files = {"large": LARGE}
        with site(tmp_path / "a", files=files) as a, site(tmp_path / "b", a) as b:
            monkeypatch.setattr(b.node.election, "count_wanting", lambda *_: 1)
            Running(b.pull).result()
            check(b, files)
            assert a.server.sent == 0

    @pytest.mark.parametrize("late", [False, True])
    def test_a_peer_is_banned_unjustly(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, late: bool
    ) -> None:
        """The swarm is joined again, and every byte that it brings counts once, also those that
        come `late`: while the first one is being left.
        """
        files = {"large": LARGE + LARGE}
        slow = SwarmSettings(rates=Rates(lan_up=4 * MIB))
        with site(tmp_path / "a", files=files, settings=slow) as a, site(tmp_path / "b", a) as b:
            pulling = Running(lambda: b.pull(http=False))
            until(lambda: pieces(b) > 4, "some pieces came")
            [torrent] = b.node.session.torrents()
            leave = Torrent.close

            def leave_later(left: Torrent) -> None:
                if left is torrent:
                    # Not by its `view`, which is to be the last one that the product took.
                    more = left._handle.status().total_payload_download + 2 * MIB
                    until(
                        lambda: left._handle.status().total_payload_download >= more,
                        "bytes come in the meantime",
                    )
                leave(left)

            if late:
                monkeypatch.setattr(Torrent, "close", leave_later)
            with torrent._lock:
                torrent._bans.banned(("192.0.2.1", 6881))
                torrent._bans.wrong(0)

            def again() -> bool:
                joined = b.node.session.torrents()
                return any(other is not torrent and not other.seeds for other in joined)

            until(again, "it is joined again")
            pulled = pulling.result()
            check(b, files)
            size = len(files["large"])
            assert size <= sum(pulled.fetched.values()) <= 2 * size

    @pytest.mark.parametrize("crowd", [0, 1])
    def test_the_origin_helps_where_all_peers_are_slow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowd: int
    ) -> None:
        """By HTTP or by the swarm it would take a minute."""
        files = {"large": noise(55, 24 * MIB)}
        slow = SwarmSettings(rates=Rates(lan_up=MIB // 2))
        origin = Origin(files)
        with (
            site(tmp_path / "a", files=files, settings=slow) as a,
            site(tmp_path / "b", a) as b,
        ):
            monkeypatch.setattr(b.node.election, "count_wanting", lambda *_: crowd)
            seeds(a, files)
            # However slow this machine is: the peer is asked, and its first piece comes first.
            tuning = Tuning(first_look=SECONDS)
            give = origin.open

            def later(*asked: Any) -> RangeReader:
                until(lambda: pieces(b), "the peer has sent a piece")
                return give(*asked)

            monkeypatch.setattr(Origin, "open", lambda _, *asked: later(*asked))
            pulled = Running(lambda: b.pull("org/model", origin, tuning=tuning)).result()
            check(b, files)
            from_peers = sum(n for name, n in pulled.fetched.items() if name != origin.name)
            assert from_peers > 0
            assert pulled.fetched[origin.name] > 0

    @pytest.mark.parametrize("crowd", [0, 1])
    def test_interrupted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowd: int) -> None:
        """It ends at once, and what came is not fetched again."""
        files = {"large": LARGE + LARGE}
        rates = Rates(lan_up=4 * MIB)
        with site(tmp_path / "a", files=files, settings=SwarmSettings(rates=rates)) as a:
            with site(tmp_path / "b", a) as b:
                monkeypatch.setattr(b.node.election, "count_wanting", lambda *_: crowd)
                pulling = Running(b.pull)
                until(lambda: pieces(b) > 4, "some pieces came")
                b.control.cancel.set()
                with pytest.raises(Cancelled):
                    pulling.result(5)
            with site(tmp_path / "b", a) as b:
                had = pieces(b)
                assert had
                pulled = Running(b.pull).result()
                check(b, files)
                assert sum(pulled.fetched.values()) <= len(files["large"]) - (had - 1) * MIB

    @pytest.mark.parametrize("http", [True, False])
    def test_what_is_restricted(self, tmp_path: Path, *, http: bool) -> None:
        """It goes to static peers, by HTTP and in a swarm, and to no other node."""
        port = free_port()
        with (
            site(tmp_path / "b", ("127.0.0.1", port)) as b,
            site(tmp_path / "a", b, port=port, files={"large": LARGE}) as a,
        ):
            with a.archive.writer() as writer:
                a.archive.refs.put_about(writer, MODEL, About(private=True))
            until(lambda: not a.node.sharing.offers(trusted=False), "it is restricted")
            until(lambda: a.node.contacts.is_static("127.0.0.1"), "it knows its friends")
            until(b.node.contacts.neighbours, "and they know it", 15)
            Running(lambda: b.pull(http=http)).result()
            check(b, {"large": LARGE})
            with site(tmp_path / "stranger", a) as stranger:
                until(stranger.node.contacts.neighbours, "it knows the node")
                a.node.contacts._static_hosts = frozenset()
                with pytest.raises(OutlastError):
                    Running(stranger.pull).result()

    def test_a_revision_becomes_restricted(self, tmp_path: Path) -> None:
        """What is seeded to all follows."""
        with site(tmp_path / "a", files={"large": LARGE}) as a:
            seeds(a, {"large": LARGE})
            [torrent] = a.node.session.torrents()
            assert not torrent.restricted
            with a.archive.writer() as writer:
                a.archive.refs.put_about(writer, MODEL, About(private=True))
            until(
                lambda: [t.restricted for t in a.node.session.torrents()] == [True],
                "it is seeded to static peers alone",
            )


class TestWaiting:
    """Why nothing comes is said, in the events and in the status."""

    QUICK = Tuning(quiet_after=0.1, tell_waiting=0.1)

    def test_for_the_elected_fetcher(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Until that falls silent; then the file comes from the origin."""
        monkeypatch.setattr(Node, "elects", property(lambda _: True))
        with site(tmp_path / "a") as a, site(tmp_path / "b", a) as b:
            until(b.node.contacts.neighbours, "it knows the other")
            wish = Wish(want_key(Digest.of(LARGE)), able=True, fetching=True)
            heard = Want(a.node.id, "127.0.0.1", a.server.port, (wish,))
            pulling = Running(
                lambda: b.pull("org/model", Origin({"large": LARGE}), tuning=self.QUICK)
            )
            said = re.compile(r"127\.0\.0\.1, which fetches it since \d+ s")

            def waits_for_it() -> bool:
                b.node.election.hear(heard, time.monotonic())
                return any(map(said.fullmatch, waits(b)))

            until(waits_for_it, "it says why it waits")
            pulling.result()
            check(b, {"large": LARGE})

    def test_for_a_source_that_is_asked_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "outlast.p2p")
        slow = Patience(tries=9, tuning=FetchTuning(first_wait=30.0))
        dark = Origin({"large": LARGE}, dark=True)
        with site(tmp_path / "a") as b:
            pulling = Running(lambda: b.pull("org/model", dark, patience=slow, tuning=self.QUICK))
            again = r"http://origin, which is asked again in \d+ s"
            until(lambda: waits(b) and re.fullmatch(again, waits(b)[-1]), "it says why it waits")
            [status] = [one for each in b.node.coordinators for one in each.statuses()]
            assert re.fullmatch(again, status.waits_for)
            b.control.cancel.set()
            with pytest.raises(Cancelled):
                pulling.result()
            # The log says it when it changes, not in every round of decisions.
            said = [line for line in caplog.messages if "waits for http://origin" in line]
            assert 1 <= len(said) <= 2


def waits(node: Site) -> list[str]:
    """What the large file was said to wait for."""
    found = [event for event in node.events if isinstance(event, FileWaiting)]
    return [event.waits_for for event in found if event.path == "large"]


def pieces(node: Site) -> int:
    """Pieces of the large file that are in its partial."""
    found = (node.home / "partial").glob("*.have")
    return sum(path.read_bytes()[24:].count(1) for path in found)
