"""`outlast pull` as a process: what it prints, for people and for programs."""

from pathlib import Path

from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import BIG, FILES, TOTAL, check_pulled, file_requests, sent
from tests.warm.calls import outlast

_KEYS = {
    *("type", "v", "repo", "ref", "commit", "manifest", "partial", "source", "files", "bytes"),
    *(
        "to_fetch",
        "to_fetch_bytes",
        "free_bytes",
        "fits",
        "fetched",
        "mended",
        "held_bytes",
        "warnings",
    ),
    *("refused", "unconfirmed"),
}


def test_for_people(hub: HubSim, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.url}
    sha = HubRepo(hub.root, "org/name").head.sha
    call = outlast("pull", "org/name", home=tmp_path, env=env).ok()
    check_pulled(tmp_path / "archive")
    assert call.out == f"{sha}\n"  # data: the commit, for scripts
    assert "pull org/name: 6 files" in call.err
    assert "archived org/name@main" in call.err
    again = outlast("pull", "org/name", home=tmp_path, env=env).ok()
    assert again.out == f"{sha}\n"
    assert "0 B fetched" in again.err


def test_quietly(hub: HubSim, tmp_path: Path) -> None:
    call = outlast("pull", "org/name", "-q", "--from", hub.url, home=tmp_path).ok()
    assert call.err == ""
    assert call.out.strip() == HubRepo(hub.root, "org/name").head.sha


def test_for_programs(hub: HubSim, tmp_path: Path) -> None:
    call = outlast("pull", "org/name", "--json", "--from", hub.url, home=tmp_path).ok()
    assert call.err == ""
    first, *_ = call.documents
    assert (first["type"], first["job"], first["files"]) == ("planned", "pull", len(FILES))
    done = {document["path"]: document for document in call.of_type("file-done")}
    assert done.keys() == FILES.keys()
    assert done[BIG]["size"] == len(FILES[BIG])
    result = call.result
    assert result.keys() == _KEYS
    assert (result["type"], result["repo"], result["ref"]) == ("pulled", "org/name", "main")
    assert (result["files"], result["bytes"], result["partial"]) == (len(FILES), TOTAL, False)
    assert result["fetched"] == {hub.url: TOTAL}
    assert (tmp_path / "archive" / "manifests" / f"{result['manifest']}.json").is_file()
    again = outlast("pull", "org/name", "--json", "--from", hub.url, home=tmp_path).ok().result
    assert (again["fetched"], again["to_fetch"], again["to_fetch_bytes"]) == ({}, [], 0)
    assert again["manifest"] == result["manifest"]


def test_what_is_left_out_for_its_name_is_said(hub: HubSim, tmp_path: Path) -> None:
    """The model is usable, and as partial as one of which the user left files out."""
    HubRepo(hub.root, "org/odd").commit({"config.json": b"{}", "../x": b"x"})
    asked = ("pull", "org/odd", "--from", hub.url)
    planned = outlast(*asked, "--dry-run", home=tmp_path).ok()
    assert "PARTIAL   1 file left out" in planned.out
    call = outlast(*asked, home=tmp_path).ok()
    (line,) = [line for line in call.err.splitlines() if "1 file is left out of org/odd" in line]
    assert "unsafe file name '../x'" in line
    assert "PARTIAL: 1 file left out" in call.err
    result = outlast(*asked, "--json", home=tmp_path).ok().result
    assert (result["partial"], result["refused"]) == (True, ["../x"])
    assert "may lack files" in outlast("ls", home=tmp_path).ok().out


def test_errors_for_programs(hub: HubSim, tmp_path: Path) -> None:
    call = outlast("pull", "org/absent", "--json", "--from", hub.url, home=tmp_path)
    call.failed("repo-not-found")
    assert call.result.keys() == {"type", "v", "code", "message", "hint"}
    assert (call.result["type"], call.result["code"]) == ("error", "repo-not-found")


def test_a_liar_is_named(hub: HubSim, tmp_path: Path) -> None:
    hub.set_faults([{"action": "changed", "what": "resolve"}])
    call = outlast("pull", "org/name", "--from", hub.url, home=tmp_path)
    call.failed("integrity")
    assert f"source banned for this run: {hub.url}" in call.err


def test_several_sources_are_told_apart(hub: HubSim, tmp_path: Path) -> None:
    lacking = {"action": "status", "status": 404, "code": "EntryNotFound", "what": "resolve"}
    with HubSim(hub.root, mode="thread") as other:
        hub.set_faults([{**lacking, "file": BIG}])
        other.set_faults([{**lacking, "file": "config.json"}])
        sources = ("--from", hub.url, "--from", other.url)
        call = outlast("pull", "org/name", *sources, home=tmp_path).ok()
        assert f"from {hub.url}" in call.err
        assert f"from {other.url}" in call.err
    check_pulled(tmp_path / "archive")


def test_sources_from_the_configuration(hub: HubSim, tmp_path: Path) -> None:
    config = tmp_path / "config" / "outlast" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'from = ["{hub.url}"]\nhome = "{tmp_path}/elsewhere"\nconnections = 2\n')
    outlast("pull", "org/name", home=tmp_path, env={"OUTLAST_HOME": ""}).ok()
    check_pulled(tmp_path / "elsewhere")


def test_settings_by_rank(hub: HubSim, tmp_path: Path) -> None:
    """Flag, then environment, then file."""
    config = tmp_path / "config.toml"
    config.write_text(f'from = "{hub.url}"\nhome = "{tmp_path}/from-file"\n')
    env = {"OUTLAST_CONFIG": str(config), "OUTLAST_HOME": str(tmp_path / "from-env")}
    some = ("pull", "org/name", "--include", "*.json")
    outlast(*some, home=tmp_path, env={**env, "OUTLAST_HOME": ""}).ok()
    assert (tmp_path / "from-file" / "manifests").is_dir()
    outlast(*some, home=tmp_path, env=env).ok()
    assert (tmp_path / "from-env" / "manifests").is_dir()
    outlast(*some, "--home", tmp_path / "from-flag", home=tmp_path, env=env).ok()
    assert (tmp_path / "from-flag" / "manifests").is_dir()


def test_a_limited_rate_changes_nothing_else(hub: HubSim, tmp_path: Path) -> None:
    arguments = ("--limit-rate", "200M", "--connections", "1", "--from", hub.url)
    outlast("pull", "org/name", *arguments, home=tmp_path).ok()
    check_pulled(tmp_path / "archive")
    assert sent(hub) == TOTAL


def test_what_a_liar_sent_is_told_and_not_kept(hub: HubSim, tmp_path: Path) -> None:
    hub.set_faults([{"action": "flip", "file": BIG}])
    call = outlast("pull", "org/name", "--json", "--from", hub.url, home=tmp_path)
    call.failed("integrity")
    (banned,) = call.of_type("source-banned")
    assert (banned["source"], banned["path"]) == (hub.url, BIG)
    assert BIG not in {document["path"] for document in call.of_type("file-done")}
    ls = outlast("ls", "--json", home=tmp_path).ok().result
    assert (ls["partial"], ls["missing"]) == (True, 1)
    hub.set_faults([])
    hub.clear_log()
    outlast("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
    assert {entry.file for entry in file_requests(hub)} == {BIG}
    check_pulled(tmp_path / "archive")
