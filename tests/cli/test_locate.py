"""`outlast locate` as users see it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node

FILES = {"model.safetensors": bytes(5000), "config.json": b"{}", "README.md": b"# A model"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread", token="hf_right") as sim:
        yield sim


@pytest.fixture
def other(tmp_path: Path) -> Iterator[HubSim]:
    """A hub elsewhere, which has another file of the same name."""
    HubRepo(tmp_path / "other", "org/name").commit(FILES | {"model.safetensors": b"other"})
    with HubSim(tmp_path / "other", mode="thread", host="127.0.0.2") as sim:
        yield sim


def test_a_table(tmp_path: Path, hub: HubSim, other: HubSim) -> None:
    inside("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
    found = inside("locate", "org/name", "--from", other.url, "--from", hub.url, home=tmp_path)
    head, *rows = found.ok().out.splitlines()
    assert head.split() == ["HOLDER", "KIND", "FILES", "BYTES", "COMMIT", "STATE", "NOTE"]
    here, elsewhere, same = (row.split() for row in rows)
    assert here[:5] == ["this", "archive", "here", "3", "of"]
    assert elsewhere[:5] == [other.url, "hub", "2", "of", "3"]
    assert "partial" in elsewhere
    assert "1 file with other bytes" in rows[1]
    assert [same[0], same[-1]] == [hub.url, "complete"]
    assert "as this archive says" in found.err
    assert "independent holders of all files, beside this archive: 1\n" in found.err


def test_show_tells_what_is_the_same(tmp_path: Path, hub: HubSim, other: HubSim) -> None:
    inside("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
    inside("locate", "org/name", "--from", hub.url, "--from", other.url, home=tmp_path).ok()
    shown = inside("show", "org/name", home=tmp_path).ok().out
    assert f"equal     all files are those of org/name at {hub.url}, seen 20" in shown
    assert f"at {other.url}" not in shown, "no sha256 says that it is the same"
    (same,) = inside("show", "org/name", "--json", home=tmp_path).ok().result["equals"]
    assert (same["hub"], same["files"], same["of"], same["whole"]) == (hub.url, 3, 3, True)
    inside("rm", "org/name", home=tmp_path).ok()
    assert not [*(tmp_path / "archive").glob("equals/**/name")]
    assert not [*(tmp_path / "archive").glob("holders/**/name")]


def test_without_an_archive(tmp_path: Path, hub: HubSim) -> None:
    """None is made, and a status says that others have it."""
    assert inside("locate", "org/name", "--from", hub.url, home=tmp_path).code == 0
    assert not (tmp_path / "archive").exists()


def test_what_the_statuses_say(tmp_path: Path, hub: HubSim, other: HubSim) -> None:
    inside("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
    arguments = ["locate", "org/name", "--json", "--from", other.url]
    answered = inside(*arguments, home=tmp_path)
    assert (answered.code, answered.result["status"]) == (3, 3)
    dark = inside(*arguments, "--from", "http://127.0.0.1:9", home=tmp_path)
    assert (dark.code, dark.result["elsewhere"]) == (5, False)
    inside("locate", "org/none", "--from", hub.url, home=tmp_path).failed("repo-not-found")


def test_a_mirror_counts_for_what_it_holds(tmp_path: Path, hub: HubSim) -> None:
    """It lists what it would fetch, too."""
    mirror = Node(tmp_path / "mirror" / "archive", "--upstream", hub.url)
    with mirror:
        first = inside("locate", "org/name", "--from", mirror.url, "--json", home=tmp_path)
        assert first.code == 3
        (row,) = [line for line in first.documents if line.get("kind") == "mirror"]
        assert (row["files"], row["state"]) == (0, "absent")
        assert row["note"] == "would fetch 3 more from its hub"
        for path in FILES:
            assert mirror.get(f"/org/name/resolve/main/{path}").status == 200
        again = inside("locate", "org/name", "--from", mirror.url, "--json", home=tmp_path)
        (row,) = [line for line in again.documents if line.get("kind") == "mirror"]
        assert (row["files"], row["state"], row["note"]) == (3, "complete", "")


def test_what_the_settings_turn_off(tmp_path: Path, hub: HubSim) -> None:
    arguments = ["locate", "org/name", "--from", hub.url]
    inside(*arguments, "--from", "lan", home=tmp_path).failed("usage")
