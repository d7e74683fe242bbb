"""What is archived of what is wanted: in which order, within which bytes, and what of it stays."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from outlast.core.digest import GitOid
from outlast.core.events import Note
from outlast.core.keep_list import Priority
from outlast.core.names import RepoId
from outlast.core.sizes import human_size
from outlast.features.watch.archive_queue import ArchiveQueue, Danger, danger, urgency
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.follows import parse_follows, parse_pattern
from outlast.features.watch.memory_rows import Wanted
from outlast.fetch.source_state import METADATA_PATIENCE, Patience
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import PLAIN
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.records.holders import SeenHolder, SeenHolders
from tests.features.watch.world import FILES, TOKEN, World
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import QUICK, check_archive, contents, sent

SIZE = sum(map(len, FILES.values()))
WANTED = Wanted("hub", RepoId.parse("org/name"), "main", GitOid("1" * 40), 0.0)
FOLLOW = replace(parse_pattern("org/*"), budget=10**9)
QUIET = Danger({})


def kept(world: World, *others: HubSim) -> World:
    """The world, whose follows with budgets are archived from its hub and from others."""
    http = HttpClient(HttpSettings(read_timeout=10))
    world.archiver = ArchiveQueue(
        world.archive,
        world.context(),
        lambda: parse_follows(world.follows.encode(), "follows.txt", ""),
        sources=[HubSource(http, hub.url, TOKEN) for hub in (world.hub, *others)],
        wishes=Wishes(
            connections=2,
            patience=Patience(2, tuning=QUICK),
            forms=PLAIN,
            metadata_patience=replace(METADATA_PATIENCE, tuning=QUICK),
            tuning=QUICK,
        ),
    )
    return world


def notes(world: World) -> list[str]:
    return [event.text for event in world.events if isinstance(event, Note)]


def test_what_is_at_risk_comes_first() -> None:
    base = urgency(WANTED, FOLLOW, QUIET, held=True)
    assert urgency(WANTED, FOLLOW, QUIET, held=False) > base
    assert urgency(replace(WANTED, risk=8.0), FOLLOW, QUIET, held=True) > base
    assert urgency(WANTED, FOLLOW, Danger({"org": 1}), held=True) > base
    assert urgency(WANTED, replace(FOLLOW, priority=Priority.HIGH), QUIET, held=True) > base
    assert urgency(WANTED, replace(FOLLOW, priority=Priority.LOW), QUIET, held=True) < base
    assert urgency(replace(WANTED, size=10**12), FOLLOW, QUIET, held=True) < base
    assert urgency(WANTED, FOLLOW, QUIET, held=True, holders=2) > base
    assert urgency(WANTED, FOLLOW, QUIET, held=True, holders=3) == base
    never, moving = replace(WANTED, size=10**10), replace(WANTED, risk=4.0)
    assert urgency(never, FOLLOW, QUIET, held=False) > urgency(moving, FOLLOW, QUIET, held=True)


def test_danger_counts_models_and_not_alerts() -> None:
    repo, other = RepoId.parse("Org/a"), RepoId.parse("org/b")
    told = [
        Change(ChangeKind.DELETED, "hub", "", repo),
        Change(ChangeKind.DELETED, "else", "", repo),
        Change(ChangeKind.GATED, "hub", "", other),
        Change(ChangeKind.MOVED, "hub", "", other),
        Change(ChangeKind.HUB_DARK, "hub", ""),
    ]
    assert danger(told) == Danger({"org": 2})


def test_new_commits_are_archived(world: World) -> None:
    kept(world).follows = "org/name budget=1MB\n"
    world.poll(0)
    assert contents(world.archive.layout.home) == FILES
    world.repo().commit({"new.txt": b"new"})
    assert world.kinds() == ["moved"]
    assert contents(world.archive.layout.home) == FILES | {"new.txt": b"new"}
    assert world.memory.wanted() == []
    world.hub.clear_log()
    world.poll()
    assert world.requests() == 2


def test_without_a_budget_nothing_is_archived(world: World) -> None:
    kept(world).poll(0)
    assert sent(world.hub) == 0
    world.follows = "org/name budget=1MB\n"
    world.poll()
    assert contents(world.archive.layout.home) == FILES


def test_globs_and_refs_of_a_follow(world: World) -> None:
    kept(world).follows = "org/name@v1 include=*.json budget=1MB\n"
    world.repo().commit({"config.json": b"later"})
    world.poll(0)
    home = world.archive.layout.home
    assert contents(home, "org/name@v1") == {"config.json": FILES["config.json"]}


def test_a_budget_is_never_exceeded(world: World) -> None:
    """Nor by a model that grows, nor by what moves between the look and the pull."""
    kept(world).follows = f"org/* budget={SIZE + 2500}\n"
    world.poll(0)
    assert sent(world.hub) == SIZE
    world.repo().commit({"more.bin": b"m" * 2000})
    world.poll()
    assert sent(world.hub) == SIZE + 2000
    world.repo().commit({"huge.bin": b"h" * 2000})
    world.poll()
    assert sent(world.hub) == SIZE + 2000
    assert (
        f"it needs 2.0 kB, and of the {human_size(SIZE + 2500)} for org/* 500 B are left"
        in (notes(world)[-1])
    )
    world.follows = f"org/* budget={SIZE + 5000}\n"
    world.poll()
    assert sent(world.hub) == SIZE + 4000


def test_the_order_is_that_of_risk(world: World) -> None:
    world.make("org/small")
    world.repo("org/large").commit({"w.bin": b"w" * 9000})
    world.repo("acme/urgent").commit({"u.bin": b"u"})
    kept(world).follows = "org/* budget=1MB\nacme/urgent budget=1MB priority=high\n"
    world.poll(0)
    said = [text.split()[1] for text in notes(world) if text.startswith("archived ")]
    assert said[0] == "acme/urgent@main"
    assert set(said[1:]) == {"org/small@main", "org/large@main", "org/name@main"}


def test_what_few_others_hold_comes_before_what_many_do(world: World) -> None:
    """As `locate` saw them last."""
    world.make("org/asmall")
    commit = world.repo("org/asmall").head.sha
    with world.archive.writer() as writer:
        for name, count in (("org/asmall", 9), ("org/name", 1)):
            places = [SeenHolder(f"h{n}", "hub", f"g{n}", 1, 1, True, "") for n in range(count)]
            seen = SeenHolders(GitOid(commit), 1, 1, "", tuple(places))
            world.archive.holders.put(writer, RepoId.parse(name), seen)
    kept(world).follows = "org/* budget=1MB\n"
    world.poll(0)
    said = [text.split()[1] for text in notes(world) if text.startswith("archived ")]
    assert said.index("org/name@main") < said.index("org/asmall@main")


@pytest.fixture
def other(world: World) -> Iterator[HubSim]:
    """A second hub that has the same commits."""
    root = world.root.with_name("other")
    with HubSim(root, mode="thread", token=TOKEN) as hub:
        repo = HubRepo(root, "org/name")
        repo.commit({"config.json": b"{}"})
        repo.commit(FILES, tags=["v1"])
        yield hub


def test_withdrawn_while_it_is_pulled(world: World, other: HubSim) -> None:
    """What came is kept, and the rest comes from a hub that has it."""
    kept(world).follows = "org/name budget=1MB\n"
    world.hub.set_faults([{"action": "status", "status": 404, "file": "model.safetensors"}])
    world.poll(0)
    assert notes(world)[-1].startswith("org/name") or "model.safetensors" in notes(world)[-1]
    came = sent(world.hub)
    assert came == SIZE - len(FILES["model.safetensors"])
    world.repo().delete()
    kept(world, other)
    assert "deleted" in world.kinds()
    assert contents(world.archive.layout.home) == FILES
    assert sent(other) == len(FILES["model.safetensors"])
    check_archive(world.archive.layout.home)
