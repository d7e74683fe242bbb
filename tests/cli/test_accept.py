"""`run` of what nothing speaks for, and the operator's word: the commands."""

import json
from pathlib import Path

import pytest

from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim

NAME = "org/theirs"
FILES = {"README.md": b"# not a model of any engine\n", "notes.txt": b"x"}


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """The home of a user who imported what a stranger pulled from a hub and accepted."""
    stranger, user = tmp_path / "stranger", tmp_path / "user"
    stranger.mkdir()
    user.mkdir()
    HubRepo(tmp_path / "hub", NAME).commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        inside("pull", NAME, "--from", hub.url, home=stranger).ok()
    inside("run", NAME, "Hi", home=stranger).failed("engine")  # it was pulled from a hub
    shown = inside("show", NAME, "--json", home=stranger).result
    assert shown["run"]["by"] == "claims"
    inside("accept", shown["manifest"][:12], home=stranger).ok()
    inside("export", NAME, "--to", tmp_path / "stick", home=stranger).ok()
    inside("import", tmp_path / "stick", home=user).ok()
    return user


def test_what_a_bundle_brings_has_no_word_of_another(imported: Path) -> None:
    with Archive(imported / "archive") as archive:
        assert not archive.accepted.all()
        assert not list(archive.seen.all())
    call = inside("run", NAME, "Hi", home=imported)
    call.failed("unvouched")
    shown = inside("show", NAME, "--json", home=imported).result
    digest = shown["manifest"]
    assert shown["run"]["by"] == "nothing"
    assert f"outlast run {NAME} --accept {digest[:16]}" in call.err
    lines = inside("verify", "--who", NAME, home=imported).ok().out.splitlines()
    assert any(line.split()[:2] == ["run", "no:"] for line in lines), lines


def test_it_is_accepted_listed_and_taken_back(imported: Path) -> None:
    digest = inside("show", NAME, "--json", home=imported).result["manifest"]
    for wrong in ("0" * 12, digest[:11], "no digest"):
        inside("run", NAME, "Hi", "--accept", wrong, home=imported).failed("usage")
    assert inside("accept", "--json", home=imported).ok().out == ""
    inside("accept", "0" * 12, home=imported).failed("not-found", "not-archived")
    inside("run", NAME, "Hi", "--accept", digest[:12], home=imported).failed("engine")
    inside("run", NAME, "Hi", home=imported).failed("engine")  # it is remembered
    (line,) = inside("accept", "--json", home=imported).ok().out.splitlines()
    said = json.loads(line)
    assert (said["manifest"], said["how"], said["repo"]) == (digest, "accepted", NAME)
    assert inside("show", NAME, "--json", home=imported).result["run"]["by"] == "word"
    assert digest[:16] in inside("accept", home=imported).ok().out
    inside("accept", digest[:12], "--undo", home=imported).ok()
    inside("run", NAME, "Hi", home=imported).failed("unvouched")
    inside("accept", digest[:12], "--undo", home=imported).failed("not-found")
    inside("accept", "--undo", home=imported).failed("usage")


def test_names_are_compared_by_add_follow_and_show(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_bytes(b"x")
    warning = "is another model than mistralai/Some-7B, which is archived"
    assert (
        "warning" not in inside("add", folder, "--as", "mistralai/Some-7B", home=tmp_path).ok().err
    )
    call = inside("add", folder, "--as", "mistra1ai/Some-7B", home=tmp_path).ok()
    assert f"warning: mistra1ai/Some-7B {warning}" in call.err
    assert warning in inside("show", "mistra1ai/Some-7B", home=tmp_path).ok().out
    shown = inside("show", "mistra1ai/Some-7B", "--json", home=tmp_path).result
    assert shown["resembles"].endswith(warning)
    call = inside("follow", "rnistralai/Some-7B", "--budget", "1GB", home=tmp_path).ok()
    assert "warning: rnistralai/Some-7B is another model than mistra" in call.err
