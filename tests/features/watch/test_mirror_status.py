"""`outlast mirror status`: what depends on which hub."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.features.watch.dependence import PATIENCE, dependences, models_of, refresh
from outlast.features.watch.follows import parse_follows
from outlast.features.watch.memory import Memory
from outlast.ops.holders.locate import Around
from outlast.ops.holders.tuning import Tuning
from outlast.store.archive import Archive
from outlast.store.records.holders import SeenHolder, SeenHolders
from tests.cli.call import Call, inside
from tests.hubsim import HubRepo, HubSim
from tests.ops.holders.test_locate import Teller
from tests.serve.peers import archive_files, client

COMMIT = GitOid("c" * 40)
ONE, TWO, THREE = (RepoId.parse(f"org/{name}") for name in ("one", "two", "three"))


def seen(*groups: str, kind: str = "hub", size: int = 10) -> SeenHolders:
    rows = (SeenHolder(f"https://{g}", kind, g, 1, size, True, "2026-11-01") for g in groups)
    return SeenHolders(COMMIT, 1, size, "2026-11-01T10:00:00+00:00", tuple(rows))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a user whose archive has no model, and knows of some."""
    with Archive(tmp_path / "archive", create=True) as archive, archive.writer() as writer:
        archive.holders.put(writer, ONE, seen("hub.example", size=1000))
        archive.holders.put(writer, TWO, seen("hub.example", "other.example"))
        archive.holders.put(writer, THREE, seen("swarm", kind="swarm"))
    return tmp_path


def status(home: Path, *more: str) -> Call:
    return inside("mirror", "status", *more, home=home)


def follow(home: Path, text: str) -> None:
    folder = home / "archive" / "watch"
    folder.mkdir(exist_ok=True)
    (folder / "follows.txt").write_text(text)


def test_what_would_be_lost_with_a_hub(home: Path) -> None:
    follow(home, "org/one\norg/two\norg/three\norg/new\n")
    shown = status(home).ok()
    head, *rows = shown.out.splitlines()
    assert head.split() == ["MODEL", "BYTES", "HERE", "HOLDERS", "WHICH", "ASKED"]
    assert [" ".join(row.split()) for row in rows] == [
        "org/new - - ? - never",
        "org/one 1.0 kB - 1 hub.example 2026-11-01",
        "org/three 10 B - 1 swarm 2026-11-01",
        "org/two 10 B - 2 hub.example, other.example 2026-11-01",
        (
            "if hub.example went away: 1 model, 1.0 kB would have no other known holder; 1 of "
            "them, 1.0 kB, would be lost"
        ),
    ]
    assert "1 model never asked for" in shown.err
    loss = status(home, "--json").ok().of_type("loss")
    assert [(one["hub"], one["lost"], one["only_here"]) for one in loss] == [
        ("hub.example", ["org/one"], [])
    ]


def test_what_was_seen_of_another_revision_counts_no_more(home: Path) -> None:
    with Archive(home / "archive") as archive:
        archive_files(archive, TWO, {"a": b"a"})
        (same,) = dependences(archive, [TWO])
        assert (len(same.groups), same.here) == (2, True)
        with archive.writer() as writer:
            archive.holders.put(writer, TWO, replace(seen("hub.example"), commit=GitOid("d" * 40)))
        (other,) = dependences(archive, [TWO])
    assert (other.seen, other.here, other.size) == (None, True, 1)


def test_nothing_is_followed(home: Path) -> None:
    """Then what is archived counts, and that is nothing here."""
    assert status(home).ok().out == ""
    assert status(home, "--json").result["models"] == 0


def test_no_archive(tmp_path: Path) -> None:
    status(tmp_path).failed("not-found")


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[tuple[HubSim, HubSim]]:
    """One with two models, and another with one of them."""
    for name in ("one", "two"):
        HubRepo(tmp_path / "a", f"org/{name}").commit({"w.bin": name.encode()})
    HubRepo(tmp_path / "b", "org/two").commit({"w.bin": b"two"})
    with (
        HubSim(tmp_path / "a", mode="thread") as first,
        HubSim(tmp_path / "b", mode="thread", host="127.0.0.2") as second,
    ):
        yield first, second


def test_it_asks_anew(tmp_path: Path, hubs: tuple[HubSim, HubSim]) -> None:
    first, second = hubs
    configuration = tmp_path / "config" / "outlast"
    configuration.mkdir(parents=True)
    (configuration / "config.toml").write_text(f'from = ["{first.url}", "{second.url}"]\n')
    inside("pull", "org/one", home=tmp_path).ok()
    follow(tmp_path, "org/one\norg/two\n")
    found = status(tmp_path, "--refresh", "--json").ok()
    assert [(one["repo"], one["here"], one["holders"]) for one in found.of_type("dependence")] == [
        ("org/one", True, 1),
        ("org/two", None, 2),
    ]
    (loss,) = found.of_type("loss")
    assert (loss["hub"], loss["models"], loss["lost_models"]) == ("127.0.0.1", 1, 0)
    assert loss["only_here"] == ["org/one"]
    assert found.result["asked"] == 2
    before = len(first.requests())
    again = status(tmp_path, "--refresh", "--most", "1", "--json").ok()
    assert again.result["asked"] == 1
    asked = {entry.repo for entry in first.requests()[before:]}
    assert asked == {"org/one"}, "the one at the highest risk"


def test_followed_patterns(tmp_path: Path) -> None:
    text = b"org/*\nOrg/One@v1\nsearch:author=else\ndatasets/org/*\n"
    follows = parse_follows(text, "list", "")
    search = next(one for one in follows if one.terms)
    with Archive(tmp_path, create=True) as archive:
        assert models_of(archive, follows, ["hub"]) == [RepoId.parse("Org/One")]
        with Memory.open(tmp_path) as memory:
            memory.add_members("hub", search.key, [RepoId.parse("else/x")])
        found = models_of(archive, follows, ["hub"])
        assert found == sorted([RepoId.parse("else/x"), RepoId.parse("Org/One")])


def test_a_dark_source_is_left_alone(home: Path) -> None:
    dark = Teller("https://dark", silent=True)
    pauses: list[float] = []
    with Archive(home / "archive") as archive:
        models = dependences(archive, [RepoId.parse(f"org/m{n}") for n in range(PATIENCE + 2)])
        asked = refresh(
            archive,
            models,
            [dark, Teller("https://none")],
            Around(client()),
            Control(),
            pause=pauses.append,
            tuning=Tuning(answer=0.05, listen=0.0, poll=0.01),
        )
    assert asked == PATIENCE + 2
    assert len(pauses) == asked - 1
    # On a busy machine a question may not have begun before its time is over.
    named = {name for name, _ in dark.asked}
    assert named
    assert named <= {f"org/m{n}" for n in range(PATIENCE)}


def test_what_no_source_can_name_any_more_is_not_asked_for(home: Path) -> None:
    """Once all sources are dark, only what is archived here can be asked for."""
    dark = Teller("https://dark", silent=True)
    with Archive(home / "archive") as archive:
        models = dependences(archive, [RepoId.parse(f"org/m{n}") for n in range(PATIENCE + 2)])
        tuning = Tuning(answer=0.05, listen=0.0, poll=0.01)
        around = Around(client())
        asked = refresh(
            archive, models, [dark], around, Control(), pause=lambda _: None, tuning=tuning
        )
    assert asked == PATIENCE
