"""The text of a hub's commit: fetched from a real repository, kept, and proved offline."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from outlast.codec.git.proof import Beside, HubCommit, pointer_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError
from outlast.core.names import RepoId
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.hub_commit import HubCommitRecord
from outlast.features.trust.records.statement import HUB_COMMIT, read_statement
from outlast.store.archive import Archive
from tests.cli.call import Call, inside
from tests.gitkit.repository import Repository, needs_git
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, until
from tests.serve.upstream import target
from tests.serve.wire import once

pytestmark = needs_git
FILES = {"README.md": b"# hi\n", "a/config.json": b"{}", "model.safetensors": b"w" * 500}
RESULT = {"Content-Type": "application/x-git-upload-pack-result"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    root = tmp_path / "hub"
    HubRepo(root, "org/m").commit(FILES)
    with HubSim(root, mode="thread", git=True, token="hf_ok") as hub:
        yield hub


def pulled(home: Path, hub: HubSim, **env: str) -> Call:
    call = inside("pull", "org/m", "--from", hub.url, home=home, env=env).ok()
    assert "commit" not in call.err.lower()
    return call


def who(home: Path) -> Any:
    return inside("verify", "--who", "org/m", "--json", home=home).documents[0]["commit"]


def records(home: Path) -> list[Path]:
    found = sorted((home / "archive" / "attestations").rglob("*.dsse.json"))
    return [path for path in found if kind(path) == HUB_COMMIT]


def kind(path: Path) -> str:
    payload = DsseEnvelope.read(path.read_bytes(), unsigned=True).payload
    return str(read_statement(payload)["predicateType"])


def test_a_pull_keeps_it_once(tmp_path: Path, hub: HubSim) -> None:
    pulled(tmp_path, hub)
    [asked, given] = hub.requests(what="git")
    assert (asked.method, given.method, given.status) == ("GET", "POST", 200)
    assert given.sent < 600  # the folders follow from the files
    commit = who(tmp_path)
    assert (commit["proved"], commit["files"], commit["lacks"], commit["why"]) == (True, 3, 0, "")
    assert commit["author"] == "Sim Author <sim@example.invalid> 1700000000 +0000"
    text = inside("verify", "--who", "org/m", home=tmp_path).ok().out
    assert "the hub's id was computed again from 3 files" in text
    assert "computed again" in inside("show", "org/m", home=tmp_path).ok().out
    [path] = records(tmp_path)
    hub.clear_log()
    pulled(tmp_path, hub)
    assert (records(tmp_path), hub.requests(what="git")) == ([path], [])


def test_a_mirror_keeps_it_as_a_pull_does(tmp_path: Path, hub: HubSim) -> None:
    home = tmp_path / "archive"
    with Node(home, "--upstream", hub.url) as node:
        for path in FILES:
            assert once(node.url, target(path, "org/m")).status == 200
        until(lambda: bool(records(tmp_path)), "the text of the commit is kept")
        assert node.stop() == 0
    assert who(tmp_path)["proved"]
    assert len([one for one in hub.requests(what="git") if one.method == "POST"]) == 1


def test_what_was_pulled_before_gets_it_with_the_next_pull(tmp_path: Path, hub: HubSim) -> None:
    settings = tmp_path / "outlast.toml"
    settings.write_text("[trust]\nhub-commits = false\n")
    pulled(tmp_path, hub, OUTLAST_CONFIG=str(settings))
    assert hub.requests(what="git") == []
    assert who(tmp_path) is None
    pulled(tmp_path, hub)
    assert who(tmp_path)["proved"]


def test_a_private_model_is_asked_for_with_the_token(tmp_path: Path, hub: HubSim) -> None:
    HubRepo(hub.root, "org/m", private=True)
    pulled(tmp_path, hub, HF_TOKEN="hf_ok", HF_ENDPOINT=hub.url)
    assert who(tmp_path)["proved"]
    assert all(one.has_auth for one in hub.requests(what="git"))


def test_a_merge_with_modes_links_and_a_signature(tmp_path: Path, hub: HubSim) -> None:
    repository = Repository.new(tmp_path / "work")
    weights = FILES["model.safetensors"]
    held = {**FILES, "model.safetensors": pointer_of(Digest.of(weights), len(weights))}
    repository.commit(held)
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit({"run.py": b"#!"})
    repository.git("checkout", "--quiet", "main")
    (repository.folder / "latest").symlink_to("README.md")
    repository.commit({})
    repository.git("merge", "--quiet", "--no-ff", "--message=Merge", "side")
    repository.git("update-index", "--chmod=+x", "run.py")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'7' * 40},sub")
    tree = repository.git("write-tree").decode().strip()
    text = repository.raw("HEAD").replace(
        f"tree {repository.id_of('HEAD^{tree}')}".encode(), f"tree {tree}".encode()
    )
    head, _, message = text.partition(b"\n\n")
    text = head + b"\ngpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n\n" + message
    made = repository.git("hash-object", "-w", "-t", "commit", "--stdin", given=text)
    commit = made.decode().strip()
    repository.git("update-ref", "refs/heads/main", commit)
    repository.git("tag", "--annotate", "--message=One", "v1", commit)
    files = {**FILES, "run.py": b"#!"}
    HubRepo(hub.root, "org/m").commit(
        files, git=(repository.folder, commit), fresh=True, tags=["v1"]
    )
    inside("pull", "org/m@v1", "--from", hub.url, home=tmp_path).ok()
    found = inside("verify", "--who", "org/m@v1", "--json", home=tmp_path).documents[0]["commit"]
    assert (found["id"], found["proved"]) == (commit, True)
    assert (found["files"], found["lacks"]) == (4, 2)  # a link and a submodule
    assert len(hub.requests(what="git")) == 3  # the folders were asked for, too


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "status", "status": 404},
        {"action": "status", "status": 429, "retry_after": 60},
        {"action": "page"},
        {"action": "page", "method": "POST"},
        {"action": "page", "method": "POST", "type": RESULT["Content-Type"], "body": "zzzz"},
        {"action": "page", "method": "POST", "type": RESULT["Content-Type"], "body": "0009ERR x"},
        {"action": "page", "method": "POST", "type": RESULT["Content-Type"], "body": "ffffx"},
        {"action": "reset", "method": "POST", "at": 40},
        {"action": "truncate", "method": "POST"},
        {"action": "redirect_loop"},
    ],
)
def test_a_hub_that_does_not_give_it_fails_no_pull(
    tmp_path: Path, hub: HubSim, rule: dict[str, Any]
) -> None:
    hub.set_faults([{**rule, "what": "git"}])
    pulled(tmp_path, hub)
    assert who(tmp_path) is None
    assert hub.fault_hits()[0][1]


def test_a_hub_without_an_end_is_not_waited_for(
    tmp_path: Path, hub: HubSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.fetch.beside.questions.SideQuestion.answer.__defaults__", (0.2,))
    hub.set_faults([{"action": "hold", "what": "git"}])
    pulled(tmp_path, hub)
    hub.set_faults([])
    assert who(tmp_path) is None


def test_a_commit_of_other_files_proves_nothing(tmp_path: Path, hub: HubSim) -> None:
    repository = Repository.new(tmp_path / "work")
    commit = repository.commit({**FILES, "README.md": b"# other\n"})
    HubRepo(hub.root, "org/m").commit(FILES, git=(repository.folder, commit), fresh=True)
    pulled(tmp_path, hub)
    assert who(tmp_path) is None


def test_an_observation_keeps_it_as_well(tmp_path: Path, hub: HubSim) -> None:
    settings = tmp_path / "outlast.toml"
    settings.write_text("[trust]\nhub-commits = false\n")
    pulled(tmp_path, hub, OUTLAST_CONFIG=str(settings))
    inside("key", "new", "me", home=tmp_path).ok()
    call = inside("observe", "org/m", "--from", hub.url, home=tmp_path).ok()
    assert "the hub's commit id was computed again from 3 files" in call.err
    assert who(tmp_path)["proved"]


def test_a_bundle_carries_it(tmp_path: Path, hub: HubSim) -> None:
    pulled(tmp_path, hub)
    inside("export", "org/m", "--to", tmp_path / "disk", home=tmp_path).ok()
    other = tmp_path / "other"
    other.mkdir()
    inside("import", tmp_path / "disk", home=other).ok()
    assert who(other)["proved"]


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said | {"text": said["text"][:-8] + "AAAAAAA="},
        lambda said: said | {"beside": f"120000 {'1' * 40} link"},
        lambda said: said | {"beside": "100755 - README.md"},
    ],
    ids=["another text", "one name more", "another mode"],
)
def test_a_record_that_is_wrong_says_so(
    tmp_path: Path, hub: HubSim, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    pulled(tmp_path, hub)
    [path] = records(tmp_path)
    document = read_statement(DsseEnvelope.read(path.read_bytes(), unsigned=True).payload)
    document["predicate"] = change(document["predicate"])
    wrong = DsseEnvelope.of(rfc8785.dumps(document), []).to_bytes()
    path.unlink()
    path.with_name(f"{Digest.of(wrong)}.dsse.json").write_bytes(wrong)
    found = who(tmp_path)
    assert (found["proved"], found["files"]) == (False, 0)
    assert found["why"]
    assert "does not prove" in inside("verify", "--who", "org/m", home=tmp_path).ok().out


RECORD = HubCommitRecord(
    RepoId.parse("org/name"),
    Digest("1" * 64),
    GitOid("2" * 40),
    HubCommit(b"tree x", (Beside(b"a,[{", "100755"), Beside(b"b", "120000", GitOid("3" * 40)))),
)


def test_a_record_is_read_as_it_was_written() -> None:
    document = read_statement(RECORD.payload)
    assert HubCommitRecord.of(document) == RECORD
    assert document["predicate"]["beside"] == f"100755 - a%2C%5B%7B\n120000 {'3' * 40} b"
    assert json.loads(RECORD.to_bytes())["signatures"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"beside": 1},
        {"beside": "\n"},
        {"beside": "100755 - b\n100755 - a"},
        {"beside": "100755 - a\n100755 - a"},
        {"beside": "100755 - a\n" * 4096},
        {"text": 1},
        {"text": "A" * 400_004},
        {"text": "no base64"},
        {"commit": "12"},
        {"more": ""},
    ],
)
def test_a_record_has_one_spelling(change: dict[str, Any]) -> None:
    document = read_statement(RECORD.payload)
    document["predicate"] |= change
    with pytest.raises(MalformedError):
        HubCommitRecord.of(document)


def test_the_archive_stays_sound(tmp_path: Path, hub: HubSim) -> None:
    pulled(tmp_path, hub)
    with Archive(tmp_path / "archive") as archive:
        assert list(archive.attestations.faults()) == []
    inside("doctor", home=tmp_path).ok()
    inside("evidence", "org/m", home=tmp_path).ok()
