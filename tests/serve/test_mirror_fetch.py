"""A mirror in front of a hub: it fetches once, keeps what came, and asks as little as it can."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.clients.contract import DATASET, MODEL, WEIGHTS, Sample, build_sample
from tests.hubsim import HubRepo, HubSim, many_files_repo
from tests.hubsim.generate import HOSTILE_NAMES, UNSAFE_NAMES, WIDE_NAMES
from tests.serve.node import Node, archived, outlast, until
from tests.serve.upstream import (
    MIB,
    age_refs,
    beside_git,
    marks,
    same,
    sent,
    sha256,
    target,
    weights,
)
from tests.serve.wire import Reply, Wire, once
from tests.store.build import put, revision_of

BIG = "org/big"
SIZE = 40 * MIB
FILE = "model.safetensors"
CLIENTS = 20


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubSim, bytes, str]]:
    """A hub with a large file; the file's bytes and its commit."""
    root = tmp_path_factory.mktemp("big")
    data = weights(root / "weights", SIZE)
    small = {f"part-{n}.txt": f"part {n}\n".encode() for n in range(30)}
    commit = HubRepo(root / "hub", BIG).commit(
        {FILE: root / "weights", "config.json": b"{}", **small}
    )
    with HubSim(root / "hub", mode="thread") as hub:
        yield hub, data, commit.sha


@pytest.fixture
def hub(big: tuple[HubSim, bytes, str]) -> HubSim:
    big[0].set_faults([])
    big[0].clear_log()
    return big[0]


class TestFetchThrough:
    def test_a_file_comes_through_and_stays(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        home, digest = tmp_path / "home", sha256(big[1])
        with Node(home, "--upstream", hub.url) as node:
            assert once(node.url, target(FILE, BIG), "HEAD").headers["etag"] == f'"{digest}"'
            assert sent(hub, FILE) == 0
            first = once(node.url, target(FILE, BIG))
            assert (first.status, sha256(first.body)) == (200, digest)
            assert first.headers["x-repo-commit"] == big[2]
            assert sent(hub, FILE) == SIZE
            assert archived(node, [digest])
            assert once(node.url, target(FILE, BIG), Range="bytes=-9").body == big[1][-9:]
            assert same(once(node.url, target(FILE, BIG)).body, big[1])
            assert sent(hub, FILE) == SIZE
            for path in ("config.json", *(f"part-{n}.txt" for n in range(30))):
                assert once(node.url, target(path, BIG)).status == 200
            until(lambda: _is_complete(home, big[2]), "the manifest")
            assert node.stop() == 0
        outlast(home, "verify", "--quiet")

    def test_bytes_are_passed_on_before_the_last_has_come(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        with Node(tmp_path / "home", "--upstream", hub.url, "--limit-rate", "16M") as node:
            with Wire(node.url) as wire:
                wire.ask(target(FILE, BIG))
                assert wire.head().status == 200
                assert wire.read(9) == big[1][:9]
                assert not archived(node, [sha256(big[1])])
                assert node.metric("outlast_fetches") == 1
            # The client went; what was begun is finished all the same.
            until(lambda: archived(node, [sha256(big[1])]), "the blob")
            assert node.metric("outlast_upstream_bytes_total") == SIZE

    def test_a_file_that_the_client_has_is_not_fetched(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        tag = f'W/"{sha256(big[1])}"'
        with Node(tmp_path / "home", "--upstream", hub.url, "--limit-rate", "16M") as node:
            for method in ("HEAD", "GET"):
                reply = once(node.url, target(FILE, BIG), method, If_None_Match=tag)
                assert (reply.status, reply.body) == (304, b"")
            assert node.metric("outlast_fetches") == sent(hub, FILE) == 0
            with Wire(node.url) as wire:
                wire.ask(target(FILE, BIG))
                assert wire.head().status == 200
                assert once(node.url, target(FILE, BIG), If_None_Match=tag).status == 304

    def test_ranges_of_a_file_that_is_not_here_yet(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        with Node(tmp_path / "home", "--upstream", hub.url, "--limit-rate", "32M") as node:
            probe = once(node.url, target(FILE, BIG), Range="bytes=0-0")
            assert (probe.status, probe.body) == (206, big[1][:1])
            tail = once(node.url, target(FILE, BIG), Range=f"bytes={SIZE - 9}-")
            assert (tail.status, tail.body) == (206, big[1][-9:])
            middle = once(node.url, target(FILE, BIG), Range="bytes=5000000-5999999")
            assert middle.status == 206
            assert same(middle.body, big[1][5_000_000:6_000_000])
            assert once(node.url, target(FILE, BIG), Range=f"bytes={SIZE}-").status == 416
            assert sent(hub, FILE) == SIZE

    def test_bytes_that_are_here_under_another_name_are_not_fetched(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        """A new commit, or another model, with the same weights."""
        home = tmp_path / "home"
        repo = HubRepo(hub.root, "org/same")
        made = repo.commit({"renamed.safetensors": hub.root.parent / "weights", "a.txt": b"a"})
        with Node(home, "--upstream", hub.url) as node:
            assert same(once(node.url, target(FILE, BIG)).body, big[1])
            assert same(once(node.url, target("renamed.safetensors", "org/same")).body, big[1])
            assert sent(hub, FILE) == SIZE
            assert sent(hub, "renamed.safetensors") == 0
            assert once(node.url, target("a.txt", "org/same")).body == b"a"
            until(lambda: _is_complete(home, made.sha), "the manifest")
        outlast(home, "verify", "--quiet")

    def test_one_fetch_completes_every_commit_that_waits_for_it(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        """Each of them under its own names, one of them twice."""
        home = tmp_path / "home"
        data = hub.root.parent / "weights"
        one = HubRepo(hub.root, "org/one").commit({"a.bin": data})
        two = HubRepo(hub.root, "org/two").commit({"b.bin": data, "c.bin": data})
        wanted = [
            target("a.bin", "org/one"),
            target("b.bin", "org/two"),
            target("c.bin", "org/two"),
        ]
        with Node(home, "--upstream", hub.url, "--limit-rate", "40M") as node:
            for reply in _at_once(node, wanted):
                assert same(reply.body, big[1])
            until(lambda: _is_complete(home, one.sha), "the first manifest")
            until(lambda: _is_complete(home, two.sha), "the second manifest")
            assert sum(sent(hub, name) for name in ("a.bin", "b.bin", "c.bin")) == SIZE
        outlast(home, "verify", "--quiet")

    def test_a_new_commit_of_known_files_is_complete_at_once(
        self, hub: HubSim, tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        repo = HubRepo(hub.root, "org/known")
        repo.commit({"a.txt": b"known", "b.txt": b"too"})
        with Node(home, "--upstream", hub.url, "--ttl", "0") as node:
            for name in ("a.txt", "b.txt"):
                assert once(node.url, target(name, "org/known")).status == 200
            until(lambda: '"partial": false' in outlast(home, "ls", "--json"), "the manifest")
            made = repo.commit({"renamed.txt": b"known", "b.txt": b"too"})
            hub.clear_log()
            assert once(node.url, target("renamed.txt", "org/known")).body == b"known"
            until(lambda: _is_complete(home, made.sha), "the new manifest")
            assert not hub.requests(what="resolve")

    @pytest.mark.parametrize("cdn", [False, True])
    def test_the_hub_may_redirect(self, cdn: bool, tmp_path: Path) -> None:
        sample = build_sample(tmp_path / "hub")
        with (
            HubSim(sample.root, mode="thread", cdn=cdn, resolve_cache=not cdn) as hub,
            Node(tmp_path / "home", "--upstream", hub.url) as node,
        ):
            for path, wanted in ((FILE, WEIGHTS), ("config.json", b'{"a": 1}\n')):
                assert once(node.url, target(path, MODEL)).body == wanted
            data = once(node.url, f"/datasets/{DATASET}/resolve/main/train/part-0.parquet")
            assert data.body == WEIGHTS[:1000]

    def test_a_mirror_of_a_mirror(self, tmp_path: Path) -> None:
        sample = build_sample(tmp_path / "hub")
        with (
            HubSim(sample.root, mode="thread") as hub,
            Node(tmp_path / "near", "--upstream", hub.url) as near,
            Node(tmp_path / "far", "--upstream", near.url) as far,
        ):
            for name in ("main", "v1", sample.first.sha, sample.first.sha[:8]):
                assert once(far.url, target("config.json", MODEL, name)).status == 200
            assert once(far.url, target(FILE, MODEL)).body == WEIGHTS
            assert far.get(f"/api/models/{MODEL}/revision/main").json["sha"] == sample.head.sha


def _is_complete(home: Path, commit: str) -> bool:
    lines = map(json.loads, outlast(home, "ls", "--json").splitlines())
    mine = [line for line in lines if line["revision"] == commit]
    return any(line["manifest"] is not None and not line["partial"] for line in mine)


def _at_once(node: Node, targets: list[str]) -> list[Reply]:
    """Asks for every target on a connection of its own, all at the same moment."""
    barrier = Barrier(len(targets))

    def fetch(path: str) -> Reply:
        with Wire(node.url) as wire:
            barrier.wait()
            wire.ask(path, Connection="close")
            return wire.reply()

    with ThreadPoolExecutor(len(targets)) as pool:
        return list(pool.map(fetch, targets))


class TestSingleFlight:
    def test_many_clients_cause_one_fetch(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        with Node(tmp_path / "home", "--upstream", hub.url) as node:
            told = _at_once(node, [target(FILE, BIG)] * CLIENTS)
            assert [(one.status, sha256(one.body)) for one in told] == [
                (200, sha256(big[1]))
            ] * CLIENTS
            assert sent(hub, FILE) == SIZE
            assert len(hub.requests(what="info")) == 1

    def test_and_so_do_late_ones(
        self, big: tuple[HubSim, bytes, str], hub: HubSim, tmp_path: Path
    ) -> None:
        """A client that comes in the middle of a fetch joins it."""
        with Node(tmp_path / "home", "--upstream", hub.url, "--limit-rate", "32M") as node:
            with Wire(node.url) as early:
                early.ask(target(FILE, BIG))
                early.head()
                got = 0
                while got < SIZE // 2:
                    got += len(early.read(MIB))
                assert same(once(node.url, target(FILE, BIG, big[2])).body, big[1])
            assert sent(hub, FILE) == SIZE

    def test_small_files_too(self, hub: HubSim, tmp_path: Path) -> None:
        names = [f"part-{n}.txt" for n in range(30)]
        with Node(tmp_path / "home", "--upstream", hub.url) as node:
            for name in names:
                told = _at_once(node, [target(name, BIG)] * 8)
                assert {one.status for one in told} == {200}
            for name in names:
                assert len(hub.requests(what="resolve", file=name)) == 1, name


class TestAskingAgain:
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        return build_sample(tmp_path / "hub")

    @pytest.fixture
    def hub(self, sample: Sample) -> Iterator[HubSim]:
        with HubSim(sample.root, mode="thread") as hub:
            yield hub

    @staticmethod
    def fill(node: Node, sample: Sample, revision: str = "main") -> None:
        for path in sample.head.files:
            assert once(node.url, target(path, MODEL, revision)).status == 200

    def test_a_commit_is_never_asked_for_again(
        self, sample: Sample, hub: HubSim, tmp_path: Path
    ) -> None:
        head = sample.head.sha
        with Node(tmp_path / "home", "--upstream", hub.url, "--ttl", "0") as node:
            self.fill(node, sample)
            hub.clear_log()
            self.fill(node, sample, head)
            self.fill(node, sample, head[:9])
            api = f"/api/models/{MODEL}"
            for path in (
                *(f"{api}/revision/{head}", f"{api}/tree/{head}?recursive=true"),
                *(target("none.txt", MODEL, head), f"{api}/commits/{head}"),
            ):
                assert marks(once(node.url, path)) == {}
            body = b"paths=config.json&expand=false"
            kind = "application/x-www-form-urlencoded"
            info = f"{api}/paths-info/{head}"
            assert once(node.url, info, "POST", body, Content_Type=kind).status == 200
            assert beside_git(hub) == []

    def test_a_commit_that_was_seen_needs_only_its_files(
        self, sample: Sample, hub: HubSim, tmp_path: Path
    ) -> None:
        with Node(tmp_path / "home", "--upstream", hub.url, "--ttl", "0") as node:
            assert once(node.url, target("config.json", MODEL), "HEAD").status == 200
            hub.clear_log()
            self.fill(node, sample, sample.head.sha)
            assert {one.what for one in beside_git(hub)} == {"resolve"}

    def test_a_ref_is_believed_for_a_while(
        self, sample: Sample, hub: HubSim, tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        config = target("config.json", MODEL)
        with Node(home, "--upstream", hub.url) as node:
            assert once(node.url, config).headers["x-repo-commit"] == sample.head.sha
            later = sample.repo(MODEL).commit({"config.json": b"{2}"})
            hub.clear_log()
            assert once(node.url, config).headers["x-repo-commit"] == sample.head.sha
            assert beside_git(hub) == []
        age_refs(home)
        with Node(home, "--upstream", hub.url) as node:
            for _ in range(3):
                reply = once(node.url, config)
                assert (reply.body, marks(reply)) == (b"{2}", {})
                assert reply.headers["x-repo-commit"] == later.sha
            assert len(hub.requests(what="info")) == 1
        assert later.sha in outlast(home, "ls", "--json")

    def test_damaged_records_are_asked_for_again(
        self, sample: Sample, hub: HubSim, tmp_path: Path
    ) -> None:
        """A ref and a draft that cannot be read: upstream says what they said."""
        home = tmp_path / "home"
        config = target("config.json", MODEL)
        with Node(home, "--upstream", hub.url) as node:
            assert once(node.url, config).status == 200
        records = [home / root / "models" / MODEL / "main" for root in ("refs", "second/refs")]
        for record in (*records, *(home / "drafts").rglob("*.jsonl")):
            record.write_bytes(b"\xff" * 40)
        with Node(home) as node:
            reply = once(node.url, config)
            assert reply.status in {500, 502}
            assert reply.headers["x-error-message"]
        with Node(home, "--upstream", hub.url) as node:
            reply = once(node.url, config)
            assert reply.status == 200
            assert reply.headers["x-repo-commit"] == sample.head.sha
        with Node(home) as node:
            assert once(node.url, config).body == reply.body
        assert "all intact" in outlast(home, "verify")

    def test_without_a_while_every_request_asks(
        self, sample: Sample, hub: HubSim, tmp_path: Path
    ) -> None:
        config = target("config.json", MODEL)
        with Node(tmp_path / "home", "--upstream", hub.url, "--ttl", "0") as node:
            for n in range(5):
                made = sample.repo(MODEL).commit({"config.json": f"{n}".encode()})
                reply = once(node.url, config)
                assert (reply.body, reply.headers["x-repo-commit"]) == (f"{n}".encode(), made.sha)
                assert len(hub.requests(what="info")) == n + 1

    def test_refs_are_asked_for_again_too(
        self, sample: Sample, hub: HubSim, tmp_path: Path
    ) -> None:
        """llama.cpp begins with them."""
        home = tmp_path / "home"
        refs = f"/api/models/{MODEL}/refs"

        def told(node: Node, kind: str) -> dict[str, str]:
            return {one["name"]: one["targetCommit"] for one in node.get(refs).json[kind]}

        first, head = sample.first.sha, sample.head.sha
        with Node(home, "--upstream", hub.url) as node:
            assert told(node, "branches") == {"main": head, "feature/x": first}
            assert told(node, "tags") == {"v1": first}
        later = sample.repo(MODEL).commit({"config.json": b"{2}"})
        with Node(home, "--upstream", hub.url, "--ttl", "0") as node:
            assert told(node, "branches")["main"] == later.sha
            assert told(node, "tags") == {"v1": first}


def patiently(node: Node, path: str) -> Reply:
    """The answer to one who comes again as long as the mirror says so: it does if the upstream
    takes longer than a client waits, and goes on with the same questions.
    """
    while True:
        reply = once(node.url, path)
        if reply.status != 503 or "retry-after" not in reply.headers:
            return reply


class TestListings:
    def test_ten_thousand_files(self, tmp_path: Path) -> None:
        many_files_repo(tmp_path / "hub", "org/many", files=10_000)
        with (
            HubSim(tmp_path / "hub", mode="thread") as hub,
            Node(tmp_path / "home", "--upstream", hub.url) as node,
        ):
            tree = patiently(node, "/api/models/org/many/tree/main?recursive=true")
            rows = json.loads(tree.body)
            assert len([row for row in rows if row["type"] == "file"]) == 10_000
            assert len([row for row in rows if row["type"] == "directory"]) == 100
            assert "link" not in tree.headers
            assert len(node.get("/api/models/org/many").json["siblings"]) == 10_000
            path = "part-0042/file-004242.txt"
            assert once(node.url, target(path, "org/many")).body == b"file 4242\n"
            asked = Counter(one.what for one in hub.requests())
            assert asked == {"info": 1, "tree": 11, "resolve": 1}

    def test_names_that_no_disk_should_see_are_left_out(self, tmp_path: Path) -> None:
        named = dict.fromkeys(HOSTILE_NAMES, b"hostile\n")
        HubRepo(tmp_path / "hub", "org/hostile").commit({"config.json": b"{}", **named})
        with (
            HubSim(tmp_path / "hub", mode="thread") as hub,
            Node(tmp_path / "home", "--upstream", hub.url) as node,
        ):
            info = node.get("/api/models/org/hostile").json
            names = {row["rfilename"] for row in info["siblings"]}
            assert {"config.json", *WIDE_NAMES} < names
            (other,) = names - {"config.json", *WIDE_NAMES}
            assert other in {"file", "file/below-a-file.txt"}
            assert info["partial"] is True
            assert node.get("/api/models/org/hostile").headers["X-Outlast-Partial"]
            left_out = len(UNSAFE_NAMES) + 1
            said = f"{left_out} files are left out of org/hostile, which stays partial"
            assert len([line for line in node.lines() if said in line]) == 1
            assert len(hub.requests(what="info")) == 1, "it is not asked again for what it said"
            assert once(node.url, target("config.json", "org/hostile")).body == b"{}"
            reply = once(node.url, "/org/hostile/resolve/main/..%2fescape.txt")
            assert (reply.status, reply.headers["x-error-code"]) == (404, "EntryNotFound")
            outlast(tmp_path / "home", "verify", "--quiet")
        assert not list(tmp_path.glob("escape*"))

    @pytest.mark.parametrize("sealed", [True, False])
    def test_what_an_older_version_left_out_comes(self, tmp_path: Path, *, sealed: bool) -> None:
        files = {"config.json": b"{}", "a?b.json": b"[]"}
        sha = HubRepo(tmp_path / "hub", "org/older").commit(files).sha
        repo, commit = RepoId.parse("org/older"), GitOid(sha)
        whole = revision_of({"config.json": b"{}"}, repo=repo, commit=commit)
        begun = revision_of({}, {"config.json": b"{}"}, repo=repo, commit=commit)
        with (
            Archive(tmp_path / "home", create=True) as archive,
            archive.writer() as writer,
        ):
            put(archive, writer, b"{}")
            archive.refs.put_about(writer, repo, About())
            if sealed:
                archive.put_revision(writer, whole)
            else:
                archive.drafts.start(writer, begun)
            archive.refs.put(writer, repo, Ref("main", commit))
        with (
            HubSim(tmp_path / "hub", mode="thread") as hub,
            Node(tmp_path / "home", "--upstream", hub.url) as node,
        ):
            wanted = target("a?b.json", "org/older")
            until(lambda: once(node.url, wanted).status == 200, "the file")
            assert once(node.url, target("config.json", "org/older")).body == b"{}"

    @pytest.mark.parametrize(
        "entry",
        [
            {"rfilename": "a.bin", "size": -1, "blobId": "0" * 40},
            {"rfilename": "a.bin", "size": 2**63, "blobId": "0" * 40},
            {"rfilename": "a.bin", "size": 1.5, "blobId": "0" * 40},
            {"rfilename": "a.bin", "size": 1, "blobId": "x"},
            {"rfilename": "a.bin", "size": 1, "blobId": "0" * 40, "lfs": {"sha256": "../x"}},
            {"rfilename": 5},
            "config.json",
        ],
    )
    def test_entries_that_make_no_sense(self, tmp_path: Path, entry: object) -> None:
        """The listing is refused with a word why, or the entry left out; never believed."""
        HubRepo(tmp_path / "hub", "org/odd").commit({"config.json": b"{}"})
        rule = {"action": "inject", "what": "info", "entries": [entry]}
        with (
            HubSim(tmp_path / "hub", mode="thread", faults=[rule]) as hub,
            Node(tmp_path / "home", "--upstream", hub.url) as node,
        ):
            reply = once(node.url, "/api/models/org/odd")
            if reply.status == 200:
                siblings = json.loads(reply.body)["siblings"]
                assert [row["rfilename"] for row in siblings] == ["config.json"]
            else:
                assert reply.status in {502, 503}
                assert reply.headers["x-error-message"]


class TestTokens:
    @pytest.fixture
    def sample(self, tmp_path: Path) -> Sample:
        sample = build_sample(tmp_path / "hub")
        sample.repo(MODEL).configure(private=True)
        return sample

    def test_the_hubs_token_goes_to_the_hub_alone(self, sample: Sample, tmp_path: Path) -> None:
        with HubSim(sample.root, mode="thread", cdn=True, token="good") as hub:
            env = {"HF_TOKEN": "good", "HF_ENDPOINT": hub.url}
            with Node(tmp_path / "home", "--upstream", hub.url, env=env) as node:
                assert once(node.url, target(FILE, MODEL)).status == 401
                assert not hub.requests(what="resolve")
                mine = {"Authorization": "Bearer good"}
                assert once(node.url, target(FILE, MODEL), **mine).body == WEIGHTS
                assert "good" not in "".join(node.lines())
            assert hub.requests(listener="cdn")
            assert all(one.has_auth for one in hub.requests(what="resolve"))
            assert not any(one.has_auth for one in hub.requests(listener="cdn"))

    def test_a_token_for_another_hub_stays_here(self, sample: Sample, tmp_path: Path) -> None:
        with HubSim(sample.root, mode="thread", token="good") as hub:
            env = {"HF_TOKEN": "good", "HF_ENDPOINT": "http://127.0.0.1:9"}
            with Node(tmp_path / "home", "--upstream", hub.url, env=env) as node:
                assert once(node.url, target(FILE, MODEL)).status == 401
            assert hub.requests()
            assert not any(one.has_auth for one in hub.requests())

    def test_a_token_of_the_operators_file_stays_here(self, sample: Sample, tmp_path: Path) -> None:
        sample.repo("org/open").commit({"config.json": b"{}"})
        with HubSim(sample.root, mode="thread", token="good") as hub:
            tokens = tmp_path / "tokens"
            tokens.write_text("good\n")
            flags = ("--upstream", hub.url, "--tokens", str(tokens))
            with Node(tmp_path / "home", *flags) as node:
                mine = {"Authorization": "Bearer good"}
                path = target("config.json", "org/open")
                assert once(node.url, path, **mine).status == 200
                assert once(node.url, path).status == 401
                assert once(node.url, target(FILE, MODEL), **mine).status in {403, 404}
            assert hub.requests()
            assert not any(one.has_auth for one in hub.requests())
