"""`outlast pull --file` and `outlast sync`: a list of models, kept as it says."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cli.call import COMMAND, Call, environment, inside, until
from tests.hubsim import HubRepo, HubSim, add_alias
from tests.pull.kit import MIB, check_archive, contents, file_requests, sent, tree
from tests.warm.calls import finish, start

ONE = {"config.json": b'{"a": 1}', "one.bin": Random(1).randbytes(5000)}
TWO = {"config.json": b'{"b": 2}', "two.bin": Random(2).randbytes(7000)}
DATA = {"data.txt": b"rows and rows\n" * 40}
SOON = 20.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two models and a dataset. (In place of the room's own hub.)"""
    root = tmp_path / "hub"
    HubRepo(root, "org/one").commit(ONE, refs=["main"], tags=["v1.0"])
    HubRepo(root, "org/two").commit(TWO, refs=["main"])
    HubRepo(root, "org/rows", kind="dataset").commit(DATA, refs=["main"])
    return root


@pytest.fixture
def run(hub: HubSim, tmp_path: Path) -> Callable[..., Call]:
    """Writes a list and runs a command with it."""

    def call(command: str, text: str, *more: str, **env: str) -> Call:
        (tmp_path / "models.txt").write_text(text)
        return inside(
            command, "-f", "models.txt", *more, home=tmp_path, env={"HF_ENDPOINT": hub.url, **env}
        )

    return call


def kept(call: Call) -> dict[str, dict[str, Any]]:
    """By name and ref, what JSON says of each line."""
    return {f"{d['repo']}@{d['ref']}": d for d in call.of_type("kept")}


def states(call: Call) -> dict[str, str]:
    return {name: document["state"] for name, document in kept(call).items()}


def archived(home: Path) -> set[str]:
    documents = inside("ls", "--json", home=home).ok().documents
    return {f"{d['repo']}@{ref}" for d in documents for ref in d["refs"] or ["-"]}


ALL = "org/one\norg/two\ndatasets/org/rows\n"


@pytest.mark.parametrize("command", ["pull", "sync"])
def test_a_list(run: Callable[..., Call], tmp_path: Path, command: str) -> None:
    call = run(command, "# mine\norg/one@v1.0\norg/two include=*.json\n\ndatasets/org/rows\n")
    call.ok()
    check_archive(tmp_path / "archive")
    assert contents(tmp_path / "archive", "org/one@v1.0") == ONE
    assert contents(tmp_path / "archive", "org/two") == {"config.json": TWO["config.json"]}
    assert contents(tmp_path / "archive", "datasets/org/rows") == DATA
    rows = [line.split() for line in call.out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["MODEL", "STATE"],
        ["org/one@v1.0", "new"],
        ["org/two", "new,"],
        ["datasets/org/rows", "new"],
    ]
    assert rows[2][2] == "partial"
    assert "3 models: 3 new" in call.err
    again = run(command, "org/one@v1.0\n", "--json").ok()
    assert states(again) == {"org/one@v1.0": "unchanged"}


def test_what_changes_between_two_runs(run: Callable[..., Call], hub: HubSim) -> None:
    first = kept(run("sync", ALL, "--json").ok())
    assert {document["state"] for document in first.values()} == {"new"}
    moved = HubRepo(hub.root, "org/two").commit({"more.txt": b"more"}, refs=["main"])
    hub.clear_log()
    call = run("sync", ALL, "--json").ok()
    assert states(call) == {
        "org/one@main": "unchanged",
        "org/two@main": "updated",
        "datasets/org/rows@main": "unchanged",
    }
    two = kept(call)["org/two@main"]
    assert two["before"] == first["org/two@main"]["commit"]
    assert two["commit"] == moved.sha
    assert two["fetched"] == {hub.url: 4}
    asked = [entry for entry in hub.requests() if entry.repo == "org/one"]
    # This hub serves no git: the text of its commit is asked for anew by each run.
    assert {entry.what for entry in asked} <= {"info", "tree", "git"}
    assert len([entry for entry in asked if entry.what == "info"]) == 1  # one look-up
    assert {entry.repo for entry in file_requests(hub)} == {"org/two"}
    summary = call.result
    assert summary["type"] == "summary"
    assert (summary["models"], summary["unchanged"], summary["updated"]) == (3, 2, 1)
    assert (summary["fetched_bytes"], summary["status"]) == (4, 0)
    text = run("sync", ALL).ok()
    HubRepo(hub.root, "org/two").commit({"more.txt": b"again"}, refs=["main"])
    text = run("sync", ALL).ok()
    assert f"{moved.sha[:12]} → " in text.out


def test_more_files_of_the_same_commit(run: Callable[..., Call]) -> None:
    assert states(run("pull", "org/one include=*.json\n", "--json").ok()) == {"org/one@main": "new"}
    call = run("pull", "org/one\n", "--json").ok()
    assert states(call) == {"org/one@main": "completed"}
    assert kept(call)["org/one@main"]["partial"] is False


def test_a_pinned_commit(run: Callable[..., Call], hub: HubSim) -> None:
    sha = HubRepo(hub.root, "org/one").head.sha
    for commit in (sha, sha[:10]):
        expected = "new" if commit == sha else "unchanged"
        assert states(run("sync", f"org/one@{commit}\n", "--json").ok()) == {
            f"org/one@{commit}": expected
        }


def test_one_that_fails_stops_no_other(
    run: Callable[..., Call], hub: HubSim, tmp_path: Path
) -> None:
    hub.set_faults([{"action": "flip", "file": "one.bin"}])
    text = "org/none\norg/one\norg/two@nothing\norg/two\n"
    call = run("sync", text, "--json")
    assert call.code == 4  # wrong bytes are worse than a name that does not exist
    assert states(call) == {
        "org/none@main": "failed",
        "org/one@main": "failed",
        "org/two@nothing": "failed",
        "org/two@main": "new",
    }
    errors = {name: document["error"] for name, document in kept(call).items()}
    assert errors["org/none@main"]["code"] == "repo-not-found"
    assert errors["org/one@main"]["code"] == "integrity"
    assert errors["org/two@nothing"]["code"] == "revision-not-found"
    assert errors["org/two@main"] is None
    assert call.result["status"] == 4
    assert contents(tmp_path / "archive", "org/two") == TWO
    hub.set_faults([])
    again = run("pull", text)
    assert again.code == 3
    assert "line 1, org/none: error[repo-not-found]: " in again.err
    assert again.err.count("error[") == 2
    [row] = [line for line in again.out.splitlines() if line.startswith("org/none")]
    assert row.split()[1:3] == ["failed", "-"]
    assert "repo-not-found: " in row


def test_the_exit_status_of_a_hub_that_is_down(
    run: Callable[..., Call], hub: HubSim, tmp_path: Path
) -> None:
    run("sync", ALL).ok()
    before = tree(tmp_path / "archive" / "refs")
    hub.stop()
    call = run("sync", "org/one\norg/two\n", "--remove", "--json")
    assert call.code == 5
    assert set(states(call).values()) == {"failed"}
    assert call.result["removed"] == 0
    assert tree(tmp_path / "archive" / "refs") == before


def test_a_dry_run_changes_nothing(run: Callable[..., Call], hub: HubSim, tmp_path: Path) -> None:
    call = run("sync", ALL, "--dry-run", "--json").ok()
    assert not (tmp_path / "archive").exists()
    assert set(states(call).values()) == {"new"}
    total = sum(len(data) for files in (ONE, TWO, DATA) for data in files.values())
    assert call.result["to_fetch_bytes"] == total
    assert call.result["fetched_bytes"] == 0
    run("sync", "org/one\norg/two\n").ok()
    before = tree(tmp_path / "archive")
    call = run("sync", ALL, "--dry-run").ok()
    assert "would be fetched" in call.err
    assert sent(hub, "data.txt") == 0
    after = tree(tmp_path / "archive")
    assert {k: v for k, v in after.items() if "index" not in k} == {
        k: v for k, v in before.items() if "index" not in k
    }


def test_globs_that_match_nothing_are_those_of_the_line(run: Callable[..., Call]) -> None:
    call = run("sync", "org/one include=*.none\n")
    assert call.code == 3
    assert "hint: check include= and exclude= of the line" in call.err


@pytest.mark.parametrize("before", ["org/none", "org/two", "org/one include=*.json", "org/one"])
def test_a_dry_run_says_what_becomes_partial(
    run: Callable[..., Call], hub: HubSim, before: str
) -> None:
    """A file that globs exclude becomes part of the commit where its bytes are here already."""
    HubRepo(hub.root, "org/two").commit({"one.bin": ONE["one.bin"]}, refs=["main"])
    run("pull", f"{before}\n")
    text = "org/one exclude=one.bin\n"
    dry = kept(run("pull", text, "--dry-run", "--json").ok())["org/one@main"]
    real = kept(run("pull", text, "--json").ok())["org/one@main"]
    assert dry["partial"] == real["partial"] == (before not in {"org/two", "org/one"})


@pytest.mark.parametrize("text", ["", "# nothing\n", "org/one\norg/../two\n", "org/one\norg/one\n"])
@pytest.mark.parametrize("more", [(), ("--remove",)])
def test_a_bad_list_does_nothing(
    run: Callable[..., Call], hub: HubSim, tmp_path: Path, text: str, more: tuple[str, ...]
) -> None:
    run("sync", ALL).ok()
    hub.clear_log()
    before = archived(tmp_path)
    message = run("sync", text, *more).failed("bad-list")
    assert message.startswith("models.txt")
    assert hub.requests() == []
    assert archived(tmp_path) == before


def test_no_list(tmp_path: Path) -> None:
    for command in ("sync", "pull"):
        inside(command, "-f", "none.txt", home=tmp_path).failed("not-found")
        message = inside(command, "-f", tmp_path, home=tmp_path).failed("not-found")
        assert "is a folder" in message
    inside("sync", home=tmp_path).failed("usage")
    inside("pull", home=tmp_path).failed("usage")
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    "more",
    [("org/one",), ("--include", "*"), ("--exclude", "*"), ("--as", "a/b"), ("--patience", "3")],
    ids=" ".join,
)
def test_options_that_are_not_for_lists(run: Callable[..., Call], more: tuple[str, ...]) -> None:
    run("pull", ALL, *more).failed("usage")


def test_options_are_for_all_lines(run: Callable[..., Call], hub: HubSim, tmp_path: Path) -> None:
    call = run("pull", ALL, "--from", hub.url, "--form", "plain", "--limit-rate", "90M",
               "--connections", "1", "--no-swarm", HF_ENDPOINT="http://127.0.0.1:9")  # fmt: skip
    call.ok()
    assert not list((tmp_path / "archive" / "capsules").rglob("*.olc"))
    assert max(entry.beside for entry in file_requests(hub)) == 0
    HubRepo(hub.root, "org/bad").commit({"model.safetensors": b"<html>no</html>"}, refs=["main"])
    call = run("pull", "org/bad\norg/one\n", "--strict", "--json")
    assert states(call) == {"org/bad@main": "failed", "org/one@main": "unchanged"}
    assert call.code == 4


def test_from_stdin(hub: HubSim, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "sync", "-f", "-", "--json"],
        env=environment(tmp_path, HF_ENDPOINT=hub.url),
        input=b"\xef\xbb\xbforg/one\r\n",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b'"state": "new"' in done.stdout


def test_what_left_the_list(run: Callable[..., Call], hub: HubSim, tmp_path: Path) -> None:
    """It is told, and stays until --remove; then it goes, and nothing else."""
    repo = HubRepo(hub.root, "org/one")
    run("sync", "org/one@v1.0\n" + ALL).ok()
    first = repo.head.sha
    repo.commit({"new.txt": b"new"}, refs=["main"])
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"mine alone")
    inside("add", folder, "--as", "me/mine", home=tmp_path).ok()
    everything = {"org/one@v1.0", "org/one@main", "org/two@main", "datasets/org/rows@main",
                  "me/mine@main"}  # fmt: skip
    assert archived(tmp_path) == everything
    text = "org/one\n"
    call = run("sync", text)
    assert "not on the list: org/one@v1.0" in call.ok().err
    assert "not on the list: me/mine (it was added here" in call.err
    assert "outlast sync -f models.txt --remove" in call.err
    assert "--remove" not in run("sync", text + "org/none\n").err
    assert archived(tmp_path) == everything
    dry = run("sync", text, "--remove", "--dry-run", "--json").ok()
    assert archived(tmp_path) == everything
    told = {(d["repo"], d["ref"]): bool(d["kept"]) for d in dry.of_type("left")}
    assert told == {
        ("org/one", "v1.0"): False,
        ("org/two", None): False,
        ("datasets/org/rows", None): False,
        ("me/mine", None): True,
    }
    done = run("sync", text, "--remove", "--json").ok()
    assert done.of_type("removed") == dry.of_type("removed") != []
    assert (done.result["left"], done.result["removed"]) == (4, 3)
    assert archived(tmp_path) == {"org/one@main", "me/mine@main"}
    assert first not in {d["revision"] for d in inside("ls", "--json", home=tmp_path).documents}
    check_archive(tmp_path / "archive")
    assert "not on the list: me/mine" in run("sync", text, "--remove").ok().err
    assert archived(tmp_path) == {"org/one@main", "me/mine@main"}


def test_nothing_goes_while_a_line_fails(run: Callable[..., Call], tmp_path: Path) -> None:
    """The old name of a model that moved is not given up before the new one is here."""
    run("sync", ALL).ok()
    call = run("sync", "org/one\norg/renamed\n", "--remove")
    assert call.code == 3
    assert "nothing was removed" in call.err
    assert "org/two@main" in archived(tmp_path)


def test_a_ref_of_a_pinned_commit_stays(
    run: Callable[..., Call], hub: HubSim, tmp_path: Path
) -> None:
    """Without its last ref the revision would go, which the list names by its commit."""
    run("sync", "org/one\n").ok()
    sha = HubRepo(hub.root, "org/one").head.sha
    call = run("sync", f"org/one@{sha[:12]}\n", "--remove", "--json").ok()
    assert (call.result["left"], call.result["removed"]) == (0, 0)
    assert contents(tmp_path / "archive", "org/one") == ONE


def test_an_older_commit_of_a_branch_stays(
    run: Callable[..., Call], hub: HubSim, tmp_path: Path
) -> None:
    run("sync", "org/one\n").ok()
    repo = HubRepo(hub.root, "org/one")
    first = repo.head.sha
    repo.commit({"new.txt": b"new"}, refs=["main"])
    run("sync", "org/one\n", "--remove").ok()
    assert contents(tmp_path / "archive", f"org/one@{first}") == ONE


def test_names_in_another_case_are_one_model(
    run: Callable[..., Call], hub: HubSim, tmp_path: Path
) -> None:
    run("sync", "org/one\n").ok()
    add_alias(hub.root, "ORG/One", "org/one")
    call = run("sync", "ORG/One\n", "--remove", "--json").ok()
    assert states(call) == {"org/one@main": "unchanged"}
    assert call.result["left"] == 0
    assert archived(tmp_path) == {"org/one@main"}


@pytest.mark.parametrize("how", ["adopted", "withdrawn", "added"])
def test_what_may_be_the_only_copy_stays(
    run: Callable[..., Call], hub: HubSim, tmp_path: Path, how: str
) -> None:
    run("sync", "org/one\norg/two\n").ok()
    if how == "adopted":
        inside("link", "org/two", "--cache", tmp_path / "cache", home=tmp_path).ok()
        shutil.rmtree(tmp_path / "archive")
        inside("adopt", tmp_path / "cache", home=tmp_path).ok()
    elif how == "withdrawn":
        hub.set_faults([{"action": "status", "status": 451, "repo": "org/two"}])
        inside("pull", "org/two", "--from", hub.url, home=tmp_path).failed("withdrawn")
        hub.set_faults([])
    else:
        files = tmp_path / "again"
        inside("link", "org/two", "--folder", files, home=tmp_path).ok()
        inside("rm", "org/two", home=tmp_path).ok()
        inside("add", files, "--as", "org/two", home=tmp_path).ok()
    call = run("sync", "org/one\n", "--remove", "--json").ok()
    [left] = call.of_type("left")
    assert left["repo"] == "org/two"
    assert left["kept"]
    assert call.result["removed"] == 0
    assert contents(tmp_path / "archive", "org/two") == TWO


def test_one_that_does_not_fit_stops_no_other(run: Callable[..., Call], hub: HubSim) -> None:
    hub.set_faults([{"action": "size", "size": 1 << 50, "file": "one.bin"}])
    call = run("sync", "org/one\norg/two\n", "--json")
    assert states(call) == {"org/one@main": "failed", "org/two@main": "new"}
    assert kept(call)["org/one@main"]["error"]["code"] == "disk-full"
    assert call.code == 8


def test_ctrl_c_ends_the_list(hub: HubSim, tmp_path: Path) -> None:
    HubRepo(hub.root, "org/large").commit(
        {"large.bin": Random(4).randbytes(40 * MIB)}, refs=["main"]
    )
    hub.set_faults([{"action": "slow", "rate": 3 * MIB, "file": "large.bin"}])
    (tmp_path / "models.txt").write_text("org/one\norg/large\norg/two\n")
    arguments = ("sync", "-f", tmp_path / "models.txt", "--from", hub.url, "--json")
    process = start(*arguments, home=tmp_path)
    until(lambda: sent(hub, "large.bin") > 8 * MIB, "the transfer is under way")
    process.send_signal(signal.SIGINT)
    call = finish(process, SOON)
    assert call.code == 130
    assert states(call) == {
        "org/one@main": "new",
        "org/large@main": "failed",
        "org/two@main": "skipped",
    }
    assert kept(call)["org/large@main"]["error"]["code"] == "cancelled"
    before = sent(hub, "large.bin")
    hub.set_faults([])
    call = finish(start(*arguments, home=tmp_path)).ok()
    assert states(call)["org/one@main"] == "unchanged"
    assert sent(hub, "large.bin") - before < 40 * MIB
    check_archive(tmp_path / "archive")
