"""A mirror with a quota: what came because clients asked goes, least recently used first."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, outlast, pull, until
from tests.serve.upstream import MIB, same, sent, target, weights
from tests.serve.wire import Wire, once

SIZE = 6 * MIB
NAMES = ("one", "two", "three", "four")
TWO = f"{2 * SIZE + SIZE // 2}"
"""A quota that two of the models fit into."""
WATCHFUL = {"outlast.mirror.tuning.TUNING.quota_measured": 0.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubSim, dict[str, bytes]]]:
    root = tmp_path_factory.mktemp("quota")
    contents = {}
    for seed, name in enumerate(NAMES):
        contents[name] = weights(root / name, SIZE, seed)
        HubRepo(root / "hub", f"org/{name}").commit({f"{name}.bin": root / name})
    with HubSim(root / "hub", mode="thread") as hub:
        yield hub, contents


@pytest.fixture
def hub(world: tuple[HubSim, dict[str, bytes]]) -> HubSim:
    world[0].set_faults([])
    world[0].clear_log()
    return world[0]


def path(name: str) -> str:
    return target(f"{name}.bin", f"org/{name}")


def models(home: Path) -> set[str]:
    """The models of which a revision is here."""
    with Archive(home) as archive:
        return {line.repo.name.removeprefix("org/") for line in archive.summaries()}


def ask(node: Node, *names: str) -> None:
    """Clients that get whole models; each is archived before the next comes."""
    for name in names:
        assert once(node.url, path(name)).complete
        until(partial(_is_sealed, node.home, name), f"{name} is archived")


def _is_sealed(home: Path, name: str) -> bool:
    with Archive(home) as archive:
        return bool(archive.index.revisions(RepoId.parse(f"org/{name}")))


def rest(wire: Wire) -> bytes:
    """What is left of a body, to the end of the connection."""
    return b"".join(iter(partial(wire.read, MIB), b""))


def dropped(node: Node) -> list[str]:
    return [line for line in node.lines() if line.startswith("dropped ")]


class TestQuota:
    def test_the_least_recently_used_goes_and_comes_back_on_demand(
        self, world: tuple[HubSim, dict[str, bytes]], hub: HubSim, tmp_path: Path
    ) -> None:
        with Node(tmp_path / "home", "--upstream", hub.url, "--keep", TWO) as node:
            ask(node, "one", "two")
            assert once(node.url, path("one"), "HEAD").status == 200  # a use, too
            ask(node, "three")
            assert models(node.home) == {"one", "three"}
            assert [line.split("@")[0] for line in dropped(node)] == ["dropped org/two"]
            assert node.metric("outlast_mirror_dropped_revisions_total") == 1
            assert node.metric("outlast_mirror_freed_bytes_total") >= SIZE
            assert 2 * SIZE <= node.metric("outlast_mirror_kept_bytes") <= int(TWO)
            assert node.metric("outlast_mirror_quota_bytes") == int(TWO)
            assert sent(hub, "two.bin") == SIZE
            assert same(once(node.url, path("two")).body, world[1]["two"])
            assert sent(hub, "two.bin") == 2 * SIZE
            assert models(node.home) == {"three", "two"}
        assert not list((tmp_path / "home" / "trash").glob("*"))

    def test_what_was_pulled_or_linked_by_hand_stays_and_does_not_count(
        self, hub: HubSim, tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        pull(home, hub.url, "org/one")
        with Node(home, "--upstream", hub.url, "--keep", TWO) as node:
            ask(node, "one", "two", "three")
            assert models(home) == {"one", "two", "three"}
            outlast(home, "pull", "org/two", "--from", hub.url)
            outlast(home, "link", "org/three", "--folder", str(tmp_path / "folder"))
            ask(node, "four")
            assert models(home) == set(NAMES)
            assert not dropped(node)

    def test_what_a_client_reads_stays_also_for_another_process(
        self, world: tuple[HubSim, dict[str, bytes]], hub: HubSim, tmp_path: Path
    ) -> None:
        """Two mirrors on one archive: the one that reads has no quota, the other has."""
        home = tmp_path / "home"
        with (
            Node(home, "--upstream", hub.url) as reading,
            Node(home, "--upstream", hub.url, "--keep", TWO, tuned=WATCHFUL) as dropping,
        ):
            ask(reading, "one", "two")
            with Wire(reading.url, buffer=4096) as wire:
                wire.ask(path("one"), Connection="close")
                assert wire.head().status == 200
                ask(dropping, "three", "four")
                assert models(home) == {"one", "four"}
                assert same(rest(wire), world[1]["one"])
            ask(dropping, "two")
            assert models(home) == {"four", "two"}

    def test_what_is_being_fetched_stays_and_an_old_client_goes_on(
        self, world: tuple[HubSim, dict[str, bytes]], hub: HubSim, tmp_path: Path
    ) -> None:
        flags = ("--upstream", hub.url, "--keep", f"{2 * SIZE + MIB}")
        with Node(tmp_path / "home", *flags) as node:
            hub.set_faults([{"action": "slow", "file": "one.bin", "rate": 4 * MIB}])
            with Wire(node.url) as wire:
                wire.ask(path("one"), Connection="close")
                assert wire.head().status == 200
                ask(node, "two", "three")
                assert models(node.home) == {"one", "three"}
                assert same(rest(wire), world[1]["one"])

    def test_what_is_too_much_when_it_starts_goes_then(self, hub: HubSim, tmp_path: Path) -> None:
        home = tmp_path / "home"
        with Node(home, "--upstream", hub.url) as node:
            ask(node, "one", "two", "three")
            assert once(node.url, path("one")).complete
            node.stop()
        with Node(home, "--upstream", hub.url, "--keep", TWO) as node:
            assert models(home) == {"one", "three"}
            assert once(node.url, path("one")).complete

    def test_a_model_that_a_hub_withdrew_stays(self, tmp_path: Path) -> None:
        for seed, name in enumerate(NAMES):
            data = weights(tmp_path / name, SIZE, seed)
            HubRepo(tmp_path / "hub", f"org/{name}").commit({f"{name}.bin": data})
        with HubSim(tmp_path / "hub", mode="thread") as hub:
            flags = ("--upstream", hub.url, "--ttl", "0", "--keep", TWO)
            with Node(tmp_path / "home", *flags) as node:
                ask(node, "one", "two")
                HubRepo(tmp_path / "hub", "org/one").refuse(410, "the author took it back")
                assert once(node.url, path("one")).complete
                ask(node, "two", "three", "four")
                assert models(node.home) == {"one", "three", "four"}

    def test_one_larger_than_the_quota_is_served_and_empties_nothing(
        self, world: tuple[HubSim, dict[str, bytes]], hub: HubSim, tmp_path: Path
    ) -> None:
        with Node(tmp_path / "home", "--upstream", hub.url, "--keep", "1MB") as node:
            ask(node, "one")
            ask(node, "two")
            assert "one" not in models(node.home) or "two" in models(node.home)
            assert same(once(node.url, path("two")).body, world[1]["two"])

    def test_keep_needs_an_upstream(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="--keep is for mirrors"):
            outlast(tmp_path, "serve", "--keep", "1GB")


class TestDisk:
    @pytest.mark.parametrize("keep", [True, False])
    def test_a_full_disk_makes_room_in_place_of_507(
        self, hub: HubSim, tmp_path: Path, keep: bool
    ) -> None:
        free = 2 * SIZE + SIZE // 2
        fake = (
            "from outlast.store import disk\n"
            f"disk.free_bytes = lambda home: {free} - disk.space_used(home)"
        )
        (tmp_path / "config.toml").write_text("[serve]\nkeep-free = 0\n")
        env = {"OUTLAST_CONFIG": str(tmp_path / "config.toml")}
        flags = ["--upstream", hub.url, *(["--keep", "1TB"] if keep else [])]
        with Node(tmp_path / "home", *flags, env=env, sabotage=fake) as node:
            ask(node, "one", "two")
            if not keep:
                assert once(node.url, path("three")).status == 507
                return
            ask(node, "three")
            assert "one" not in models(node.home)
            assert "three" in models(node.home)


def test_status_says_it(hub: HubSim, tmp_path: Path) -> None:
    env = {"OUTLAST_SWARM": "1", "OUTLAST_LSD": "0"}
    home = tmp_path / "home"
    with Node(home, "--upstream", hub.url, "--keep", TWO, env=env) as node:
        ask(node, "one")
        (document,) = json.loads(outlast(home, "status", "--json"))
        assert document["quota"]["limit"] == int(TWO)
        assert document["quota"]["taken"] >= SIZE
        assert "mirror: keeps " in outlast(home, "status", "--once")
