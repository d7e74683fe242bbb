"""The hub sends wrong bytes: no client ever ends up with a complete wrong file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, archived, outlast, until
from tests.serve.upstream import MIB, Resuming, same, sha256, target, weights
from tests.serve.wire import Wire, once

REPO = "org/big"
FILE = "model.safetensors"
SIZE = 40 * MIB
SLOW = ("--limit-rate", "16M")
WHERE = {"start": 5, "middle": SIZE // 2 + 7, "last piece": SIZE - 9, "last byte": SIZE - 1}


class Case:
    """A repo with a large file and two hubs that have it; by default both are honest."""

    def __init__(self, root: Path) -> None:
        self.data = weights(root / "weights", SIZE)
        self.digest = sha256(self.data)
        files: dict[str, Any] = {
            FILE: root / "weights",
            "config.json": b"{}",
            "small.bin": self.data[:MIB],
        }
        self.commit = HubRepo(root / "hub", REPO).commit(files)
        self.target = target(FILE, REPO, self.commit.sha)
        self.hub = HubSim(root / "hub", mode="thread")
        self.other = HubSim(root / "hub", mode="thread")

    def client(self) -> Resuming:
        return Resuming(self.target, SIZE)

    def right(self, client: Resuming) -> bool:
        """Whether what a client has is complete and right. It may be incomplete, never wrong."""
        assert not client.complete or sha256(client.data) == self.digest, "a wrong file"
        return client.complete

    def is_start(self, client: Resuming) -> bool:
        """Whether all that a client has is right so far."""
        return same(client.data, self.data[: len(client.data)])

    def lie(self, at: int, **more: Any) -> None:
        self.hub.set_faults([{"action": "flip", "at": at, "what": "resolve", **more}])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    case = Case(tmp_path_factory.mktemp("wrong"))
    with case.hub, case.other:
        yield case


@pytest.fixture
def case(both: Case) -> Case:
    for hub in (both.hub, both.other):
        hub.set_faults([])
        hub.clear_log()
    return both


class TestOneHub:
    @pytest.mark.parametrize("where", WHERE)
    def test_no_client_completes_a_wrong_file(self, case: Case, tmp_path: Path, where: str) -> None:
        case.lie(WHERE[where])
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            for n in range(3):
                client = case.client()
                client.fetch(node.url)
                assert not client.complete, n
                assert len(client.data) <= SIZE - MIB, "the last piece is held back"
            assert not archived(node, [case.digest])
            assert node.metric("outlast_sources_banned_total") >= 1
            case.hub.set_faults([])
            client.insist(node.url)
            assert case.right(client)
            assert archived(node, [case.digest])
        outlast(tmp_path / "home", "verify", "--quiet")

    @pytest.mark.parametrize("where", WHERE)
    def test_resuming_behind_the_wrong_byte(self, case: Case, tmp_path: Path, where: str) -> None:
        """The most trusting client: it keeps what it got, and the hub is right from then on."""
        case.lie(WHERE[where])
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            client = case.client()
            client.fetch(node.url)
            wrong = not case.is_start(client)
            case.hub.set_faults([])
            client.insist(node.url)
            assert case.right(client)
            assert not wrong or client.statuses[-1] == 200, "it had to begin anew"

    def test_one_wrong_answer_costs_one_download(self, case: Case, tmp_path: Path) -> None:
        """What proved wrong is not served a second time."""
        case.lie(WHERE["middle"], count=16)
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            first = once(node.url, case.target)
            assert not first.complete
            case.hub.set_faults([])
            again = once(node.url, case.target)
            assert (again.status, sha256(again.body)) == (200, case.digest)

    def test_a_client_that_comes_back_after_a_restart(self, case: Case, tmp_path: Path) -> None:
        case.lie(WHERE["start"])
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            client = case.client()
            client.fetch(node.url)
            until((node.home / "unverified").exists, "a mark of what was sent")
            node.kill()
            case.hub.set_faults([])
            node.start()
            until(lambda: once(node.url, case.target).complete, "a complete file")
            client.fetch(node.url)
            assert client.statuses[-1] == 200
            assert case.right(client)

    def test_a_client_without_a_wrong_byte_may_resume(self, case: Case, tmp_path: Path) -> None:
        case.lie(WHERE["last piece"])
        with Node(tmp_path / "home", "--upstream", case.hub.url, *SLOW) as node:
            early, late = case.client(), case.client()
            early.fetch(node.url, stop=3 * MIB)
            late.fetch(node.url)
            assert not late.complete
            case.hub.set_faults([])
            until(lambda: once(node.url, case.target).complete, "a complete file")
            early.fetch(node.url)
            assert early.statuses[-1] == 200  # it cannot know, so it gets the whole
            assert case.right(early)

    @pytest.mark.parametrize("where", [5, 9 * MIB - 1])
    def test_a_file_that_git_names(self, case: Case, tmp_path: Path, where: int) -> None:
        """No sha256 is declared for it; its git blob id is what has to hold."""
        data = case.data[: 9 * MIB]
        made = HubRepo(case.hub.root, "org/text").commit({"notes.txt": data})
        assert made.files["notes.txt"].sha256 is None
        case.lie(where)
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            client = Resuming(target("notes.txt", "org/text"), len(data))
            client.fetch(node.url)
            assert len(client.data) < len(data)
            case.hub.set_faults([])
            client.insist(node.url)
            assert client.complete
            assert same(client.data, data)
        outlast(tmp_path / "home", "verify", "--quiet")

    @pytest.mark.parametrize("path", ["config.json", "small.bin"])
    def test_nothing_of_a_small_file(self, case: Case, tmp_path: Path, path: str) -> None:
        case.lie(0)
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            asked = target(path, REPO)
            for header in ({}, {"Range": "bytes=0-0"}, {"Range": "bytes=1-"}):
                reply = once(node.url, asked, **header)
                assert reply.status == 502
                assert "content-range" not in reply.headers
            case.hub.set_faults([])
            assert once(node.url, asked).status == 200

    @pytest.mark.parametrize(
        "span",
        [
            *((0, 8 * MIB - 1), (MIB, 2 * MIB - 1), (4 * MIB, SIZE - 2)),
            *((5 * MIB, 5 * MIB + 15), (5 * MIB + 4, 5 * MIB + 6)),
        ],
        ids=str,
    )
    def test_parts_of_a_file_could_be_put_together(
        self, case: Case, tmp_path: Path, span: tuple[int, int]
    ) -> None:
        """So a part is sent when the whole is verified, or not at all."""
        case.lie(5 * MIB + 5)
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            reply = once(node.url, case.target, Range=f"bytes={span[0]}-{span[1]}")
            assert reply.status in {502, 503}
            case.hub.set_faults([])
            reply = once(node.url, case.target, Range=f"bytes={span[0]}-{span[1]}")
            assert same(reply.body, case.data[span[0] : span[1] + 1])

    def test_a_file_that_changes_between_two_ranges(self, case: Case, tmp_path: Path) -> None:
        case.hub.set_faults([{"action": "changed", "what": "resolve", "skip": 3}])
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node:
            client = case.client()
            client.fetch(node.url)
            assert not client.complete
            case.hub.set_faults([])
            client.insist(node.url)
            assert case.right(client)

    def test_many_readers_of_a_wrong_file(self, case: Case, tmp_path: Path) -> None:
        case.lie(WHERE["middle"])
        with Node(tmp_path / "home", "--upstream", case.hub.url, *SLOW) as node:
            clients = [case.client() for _ in range(4)]
            for n, client in enumerate(clients):
                client.fetch(node.url, stop=(n + 1) * 9 * MIB)
            case.hub.set_faults([])
            for client in clients:
                client.insist(node.url)
                assert case.right(client)


class TestKilled:
    """The server dies with wrong bytes in its partial download, some of them passed on."""

    @pytest.fixture
    def node(self, case: Case, tmp_path: Path) -> Iterator[Node]:
        case.lie(5 * MIB + 5)
        node = Node(tmp_path / "home", "--upstream", case.hub.url, *SLOW)
        with node:
            yield node

    @pytest.fixture
    def client(self, case: Case, node: Node) -> Resuming:
        """It has ten pieces, one of them wrong; then the server is killed, and the hub mended."""
        client = case.client()
        client.fetch(node.url, stop=10 * MIB)
        node.kill()
        assert not case.is_start(client)
        case.hub.set_faults([])
        return client

    def test_it_resumes_at_once(self, case: Case, node: Node, client: Resuming) -> None:
        node.start()
        client.insist(node.url)
        assert case.right(client)

    @pytest.mark.parametrize("header", [{}, {"Range": "bytes=0-0"}, {"Range": "bytes=-9"}], ids=str)
    def test_it_resumes_when_another_client_had_it_fetched(
        self, case: Case, node: Node, client: Resuming, header: dict[str, str]
    ) -> None:
        node.start()

        def fetched() -> bool:
            once(node.url, case.target, **header)
            return archived(node, [case.digest])

        until(fetched, "the blob")
        client.insist(node.url)
        assert case.right(client)
        assert client.statuses[-1] == 200

    def test_it_resumes_when_a_pull_has_fetched_it(
        self, case: Case, node: Node, client: Resuming
    ) -> None:
        outlast(node.home, "pull", f"{REPO}@{case.commit.sha}", "--from", case.hub.url)
        assert archived(node, [case.digest])
        node.start()
        client.insist(node.url)
        assert case.right(client)
        assert client.statuses[-1] == 200

    def test_it_resumes_after_another_kill(self, case: Case, node: Node, client: Resuming) -> None:
        """… in the middle of the second attempt, when the wrong piece was found out or not."""
        node.start()
        with Wire(node.url) as wire:
            wire.ask(case.target)
            wire.head()
            while wire.read(MIB):
                pass
        node.kill()
        node.start()
        until(lambda: once(node.url, case.target).complete, "a complete file")
        client.insist(node.url)
        assert case.right(client)


class TestTwoHubs:
    @pytest.mark.parametrize("where", WHERE)
    def test_the_honest_one_finishes_the_job(self, case: Case, tmp_path: Path, where: str) -> None:
        case.lie(WHERE[where])
        flags = ("--upstream", case.hub.url, "--upstream", case.other.url)
        with Node(tmp_path / "home", *flags) as node:
            client = case.client()
            client.insist(node.url)
            assert case.right(client)
            until(lambda: archived(node, [case.digest]), "the blob")

    def test_the_liar_is_slow_and_comes_late(self, case: Case, tmp_path: Path) -> None:
        """Both have sent pieces when the whole proves wrong; the client resumes at once."""
        case.lie(9)
        flags = ("--upstream", case.hub.url, "--upstream", case.other.url)
        with Node(tmp_path / "home", *flags, *SLOW) as node:
            client = case.client()
            client.insist(node.url, tries=40)
            assert case.right(client)

    def test_a_client_that_comes_back_when_the_file_is_right(
        self, case: Case, tmp_path: Path
    ) -> None:
        """It has a wrong beginning from the liar. Then the other one made the file right, in the
        same fetch: it was busy until then, and is not given up.
        """
        case.lie(5 * MIB + 5)
        busy = {"action": "status", "status": 503, "retry_after": 5, "what": "resolve"}
        case.other.set_faults([busy])
        flags = ("--upstream", case.hub.url, "--upstream", case.other.url)
        with Node(tmp_path / "home", *flags, *SLOW) as node:
            client = case.client()
            client.fetch(node.url, stop=10 * MIB)
            assert not case.is_start(client)
            case.other.set_faults([])
            until(lambda: once(node.url, case.target).complete, "a complete file")
            assert archived(node, [case.digest])
            client.fetch(node.url)
            assert case.right(client)
            assert client.statuses == [200, 200], "it had to begin anew"
            assert node.metric("outlast_sources_banned_total") >= 1
            banned = [line for line in node.lines() if case.hub.url in line]
            assert any("bytes" in line for line in banned), node.lines()
            assert case.other.url not in "".join(banned)


WAITS = """
import os, time
from outlast.mirror.mirror import Mirror
real = Mirror.open
def wait(self, *rest):
    while os.path.exists({flag!r}):
        time.sleep(0.01)
    return real(self, *rest)
Mirror.open = wait
"""


def test_the_fetch_is_another_one_by_the_time_a_client_joins_it(case: Case, tmp_path: Path) -> None:
    """A client resumes; before its request gets to the file, the fetch that it came from has
    failed, and a right one begins.
    """
    case.lie(5 * MIB + 5)
    flag = tmp_path / "flag"
    sabotage = WAITS.format(flag=str(flag))
    with Node(tmp_path / "home", "--upstream", case.hub.url, *SLOW, sabotage=sabotage) as node:
        client = case.client()
        client.fetch(node.url, stop=10 * MIB)
        flag.touch()
        with ThreadPoolExecutor(1) as pool:
            resumed = pool.submit(client.fetch, node.url)
            until(lambda: node.metric("outlast_sources_banned_total"), "the verdict")
            case.hub.set_faults([])
            flag.unlink()
            resumed.result()
        client.insist(node.url)
        assert case.right(client)
