"""`outlast follow` and `outlast log`, as people call them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.follows import follows_file
from outlast.features.watch.memory import Memory
from outlast.store.archive import Archive
from tests.cli.call import Call, inside
from tests.hubsim import HubRepo, HubSim

SMALL, LARGE = b"{}", b"weights" * 1000
HUB = "https://hub.example"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    root = tmp_path_factory.mktemp("follow") / "hub"
    for name in ("one", "two"):
        HubRepo(root, f"org/{name}").commit({"config.json": SMALL, "model.bin": LARGE})
    HubRepo(root, "other/three").commit({"config.json": SMALL})
    with HubSim(root, mode="thread") as hub:
        yield hub


def call(home: Path, *words: str, hub: HubSim | None = None) -> Call:
    url = hub.url if hub is not None else "http://127.0.0.1:9"
    return inside(*words, home=home, env={"HF_ENDPOINT": url})


def test_what_it_would_take_is_said_first(hub: HubSim, tmp_path: Path) -> None:
    out = call(tmp_path, "follow", "org/*", hub=hub).ok().out
    assert out.startswith("following org/*: it is watched, and not archived\n")
    assert "all of it is 2 models, 14.0 kB; " in out
    assert "are free: --budget SIZE archives it\n" in out
    told = call(tmp_path, "follow", "org/one", "--include", "*.json", "--json", hub=hub).ok().result
    assert told["takes"] == {"hub": hub.url, "models": 1, "bytes": 2, "unknown": 0}
    assert told["free_bytes"] > 0
    assert (told["change"], told["budget"]) == ("added", None)
    assert follows_file(tmp_path / "archive").read_text().splitlines()[2:] == [
        "org/*",
        "org/one include=*.json",
    ]


def test_what_the_hub_does_not_know_is_not_followed(hub: HubSim, tmp_path: Path) -> None:
    call(tmp_path, "follow", "org/tow", hub=hub).failed("repo-not-found")
    call(tmp_path, "follow", "ogr/*", hub=hub).failed("repo-not-found")
    assert "write 'org/*'" in call(tmp_path, "follow", "org", hub=hub).err
    assert not follows_file(tmp_path / "archive").exists()


def test_a_hub_that_is_down_keeps_no_follow_back(tmp_path: Path) -> None:
    done = call(tmp_path, "follow", "org/one", "--json").ok().result
    assert done["takes"] is None
    assert "org/one" in follows_file(tmp_path / "archive").read_text()


def test_with_a_budget_no_hub_is_asked(tmp_path: Path) -> None:
    out = call(tmp_path, "follow", "org/*", "--budget", "500GB", "--priority", "high").ok().out
    assert out.startswith("following org/*: up to 500 GB are archived; ")
    call(tmp_path, "follow", "ORG/*", "--budget", "1GB", "--exclude", "*.bin").ok()
    (row,) = call(tmp_path, "follow", "ls", "--json").ok().documents
    assert (row["pattern"], row["kind"], row["budget"]) == ("ORG/*", "organisation", 10**9)
    assert (row["exclude"], row["priority"]) == (["*.bin"], "normal")
    text = call(tmp_path, "follow", "ls").ok().out
    assert "ORG/*    organisation  1.0 GB  normal    not *.bin  -\n" in text


def test_a_dry_run_changes_nothing(hub: HubSim, tmp_path: Path) -> None:
    out = call(tmp_path, "follow", "org/one", "--dry-run", hub=hub).ok().out
    assert out.startswith("would follow org/one: ")
    assert "all of it is 1 model, 7.0 kB" in out
    assert not (tmp_path / "archive").exists()
    call(tmp_path, "follow", "org/one", "--budget", "0").ok()
    before = follows_file(tmp_path / "archive").read_bytes()
    call(tmp_path, "follow", "org/one", "--budget", "1GB", "--dry-run").ok()
    assert "would follow" in call(tmp_path, "follow", "rm", "org/one", "--dry-run").ok().out
    assert follows_file(tmp_path / "archive").read_bytes() == before


def test_rm_and_the_lists_of_the_settings(tmp_path: Path) -> None:
    models = tmp_path / "models.txt"
    models.write_text("org/listed budget=1GB\n")
    folder = tmp_path / "config" / "outlast"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'[watch]\nlists = ["{models}"]\n')
    call(tmp_path, "follow", "org/one", "--budget", "1GB").ok()
    rows = call(tmp_path, "follow", "ls", "--json").ok().documents
    assert [(row["pattern"], row["list"]) for row in rows] == [
        ("org/one", ""),
        ("org/listed", str(models)),
    ]
    assert "archived stays" in call(tmp_path, "follow", "rm", "Org/One").ok().out
    call(tmp_path, "follow", "rm", "org/one").failed("not-found")
    assert str(models) in call(tmp_path, "follow", "rm", "org/listed").failed("not-found")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ls", "org/one"], "usage"),
        (["rm"], "usage"),
        (["org/a/b"], "bad-name"),
        (["org/one", "--budget", "lots"], "bad-config"),
        (["org/one", "--include", "a b"], "usage"),
    ],
)
def test_what_is_no_call(tmp_path: Path, words: list[str], code: str) -> None:
    call(tmp_path, "follow", *words).failed(code)
    assert not (tmp_path / "archive").exists()


def test_a_list_that_is_wrong_is_named_by_doctor_too(tmp_path: Path) -> None:
    call(tmp_path, "follow", "org/one", "--budget", "1GB").ok()
    path = follows_file(tmp_path / "archive")
    path.write_text(path.read_text() + "org/two budget=lots\n")
    assert "line 4: not a size" in call(tmp_path, "follow", "ls").failed("bad-list")
    found = call(tmp_path, "doctor", "--json")
    assert any(row["check"] == "watch" and "line 4" in row["text"] for row in found.documents)


# The log


def test_the_log_has_what_was_seen_and_what_is_known(hub: HubSim, tmp_path: Path) -> None:
    call(tmp_path, "pull", "org/one", "--from", hub.url, "--no-swarm", hub=hub).ok()
    repo, home = RepoId.parse("org/one"), tmp_path / "archive"
    with Archive(home) as archive:
        (commit,) = archive.commits(repo)
        (ref,) = archive.refs.list(repo)
        with archive.writer() as writer:
            about = archive.refs.about(repo).with_withdrawn(
                HUB, "", "2030-02-01T00:00:00+00:00", "It is gone."
            )
            archive.refs.put_about(writer, repo, about)
    deleted = Change(
        ChangeKind.DELETED,
        HUB,
        "2030-01-31T12:00:00+00:00",
        repo,
        before="open",
        after="missing",
        reason="Repository not found",
    )
    dark = Change(ChangeKind.HUB_DARK, HUB, "2030-01-30T12:00:00+00:00")
    with Memory.open(home) as memory:
        memory.tell([dark, deleted])
    call(tmp_path, "withdraw", "org/one", "--reason", "By order.").ok()
    rows = call(tmp_path, "log", "ORG/one", "--json").ok().documents
    assert [row["what"] for row in rows] == ["archived", "notice", "deleted", "withdrawn"]
    assert rows[0]["when"] == ref.observed
    assert (rows[0]["hub"], rows[0]["ref"], rows[0]["commit"]) == (hub.url, "main", commit.hex)
    assert (rows[2]["before"], rows[2]["after"]) == ("open", "missing")
    assert rows[3]["reason"] == "It is gone."
    every = call(tmp_path, "log", "--json", "--since", "2030-01-30").ok().documents
    assert [(row["what"], row["repo"]) for row in every] == [
        ("hub-dark", None),
        ("deleted", "org/one"),
        ("withdrawn", "org/one"),
    ]
    text = call(tmp_path, "log", "org/one", "--since", "2030-01-31T13:00+02:00").ok().out
    assert (
        f"2030-01-31T12:00:00+00:00  {HUB}  deleted    open → missing: Repository not found" in text
    )
    assert "archived" not in text
    call(tmp_path, "log", "org/none").failed("repo-not-found")
    call(tmp_path, "log", "--since", "yesterday").failed("usage")


def test_a_log_makes_no_memory(tmp_path: Path) -> None:
    call(tmp_path, "follow", "org/one", "--budget", "1GB").ok()
    assert call(tmp_path, "log", "--json").ok().documents == []
    assert not (tmp_path / "archive" / "watch" / "watch.sqlite").exists()
    assert "nothing was seen" in call(tmp_path, "log").ok().err
