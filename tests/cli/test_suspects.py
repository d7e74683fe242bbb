"""Weights that are none: every command that takes or looks at them says so, and --strict refuses
them before they become a revision.
"""

import errno
import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.names import Target
from outlast.store import reading
from outlast.store.archive import Archive
from tests.cli.call import Call, inside
from tests.codec.container_files import entry, gguf, safetensors, tensor
from tests.hubsim import HubRepo, HubSim
from tests.intake.test_content import POINTER
from tests.pull.kit import check_archive, file_requests, tree

WEIGHTS = safetensors({"a": entry("F32", [30_000], 0, 120_000)}, bytes(120_000))
GGUF = gguf([], [tensor("a", [30_000], 0, 0)], random.Random(1).randbytes(120_000))
BAD = {
    "empty.safetensors": b"",
    "html.gguf": b"<!doctype html><title>Sorry</title>",
    "json.bin": b'{"error": "Entry not found"}',
    "model-00001-of-00003.safetensors": WEIGHTS,
    "model-00003-of-00003.safetensors": WEIGHTS,
    "model.safetensors.index.json": b'{"weight_map": {"a": "elsewhere.safetensors"}}',
    "pointer.safetensors": POINTER,
    "sub/cut.gguf": GGUF[:-5],
    "sub/cut.safetensors": WEIGHTS[:-5],
}
KINDS = {
    "empty.safetensors": "empty",
    "html.gguf": "page",
    "json.bin": "page",
    "model-00001-of-00003.safetensors": "shard-missing",
    "model.safetensors.index.json": "index",
    "pointer.safetensors": "lfs-pointer",
    "sub/cut.gguf": "truncated",
    "sub/cut.safetensors": "truncated",
}
TOLD_BY_NAME = {"empty.safetensors", "model-00001-of-00003.safetensors"}
GOOD = {
    "README.md": b"# x\n",
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS,
    "model.safetensors.index.json": (
        b'{"weight_map": {"a": "model-00001-of-00002.safetensors",'
        b' "b": "model-00002-of-00002.safetensors"}}'
    ),
    "x.gguf": GGUF,
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def kinds(call: Call) -> dict[str, str]:
    """The warnings of a command's result, which are its events too, if it has any."""
    found = {w["path"].rpartition(": ")[2]: w["kind"] for w in call.result["warnings"]}
    assert all(w["reason"] for w in call.result["warnings"])
    events = call.of_type("suspect-content")
    assert [event["path"] for event in events] in ([], [w["path"] for w in call.result["warnings"]])
    return found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    root = tmp_path_factory.mktemp("suspects") / "hub"
    HubRepo(root, "org/bad").commit({"README.md": b"# x\n", **BAD})
    HubRepo(root, "org/good").commit(GOOD)
    HubRepo(root, "org/one").commit({"config.json": b"{}", "pointer.safetensors": POINTER})
    with HubSim(root, mode="thread") as sim:
        yield sim


def pull(home: Path, hub: HubSim, target: str, *more: str) -> Call:
    return inside("pull", target, "--from", hub.url, "--json", *more, home=home)


def held(home: Path) -> dict[str, bytes | None]:
    return tree(home / "archive" / "manifests") | tree(home / "archive" / "refs")


class TestEveryCommandWarns:
    def test_add(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "folder", BAD)
        call = inside("add", folder, "--as", "me/bad", "--json", home=tmp_path).ok()
        assert kinds(call) == KINDS
        said = inside("add", folder, "--as", "me/bad", home=tmp_path).ok().err
        assert "warning: pointer.safetensors: a Git LFS pointer" in said
        assert "8 WARNINGS" in said

    def test_pull_and_what_looks_later(self, tmp_path: Path, hub: HubSim) -> None:
        call = pull(tmp_path, hub, "org/bad").ok()
        assert kinds(call) == KINDS
        again = pull(tmp_path, hub, "org/bad").ok()
        assert kinds(again) == KINDS
        for command in (["show", "org/bad"], ["verify"], ["verify", "org/bad"]):
            assert kinds(inside(*command, "--json", home=tmp_path).ok()) == KINDS, command
        assert "warning   html.gguf: an HTML" in inside("show", "org/bad", home=tmp_path).ok().out
        verified = inside("verify", home=tmp_path).ok()
        assert "all intact, 8 warnings" in verified.out
        assert "org/bad@" in verified.err
        findings = inside("doctor", "--json", home=tmp_path).documents
        (found,) = [f for f in findings if f["check"] == "content"]
        assert found["health"] == "note"
        assert "empty.safetensors: the file is empty" in found["text"]
        assert "and 5 more" in found["text"]
        check_archive(tmp_path / "archive")

    def test_capsules_are_judged_as_plain_files_are(self, tmp_path: Path) -> None:
        data = safetensors({"a": entry("F32", [300_000], 0, 1_200_000)}, bytes(1_100_000))
        folder = write(tmp_path / "folder", {"cut.safetensors": data, "ok.safetensors": WEIGHTS})
        call = inside("add", folder, "--as", "me/m", "--form", "capsule", "--json", home=tmp_path)
        assert kinds(call.ok()) == {"cut.safetensors": "truncated"}
        assert len(list((tmp_path / "archive" / "capsules").glob("*/*"))) == 2
        shown = inside("show", "me/m", "--json", home=tmp_path).ok()
        assert kinds(shown) == {"cut.safetensors": "truncated"}

    def test_adopt(self, tmp_path: Path) -> None:
        cache(tmp_path, {**BAD, "README.md": b"# x\n"})
        call = inside("adopt", "--json", home=tmp_path).ok()
        assert kinds(call) == KINDS

    def test_what_is_right_has_no_warning(self, tmp_path: Path, hub: HubSim) -> None:
        assert kinds(pull(tmp_path, hub, "org/good", "--strict").ok()) == {}
        folder = write(tmp_path / "folder", GOOD)
        call = inside("add", folder, "--as", "me/x", "--strict", "--json", home=tmp_path).ok()
        assert kinds(call) == {}
        assert kinds(inside("verify", "--json", home=tmp_path).ok()) == {}
        assert "WARNING" not in inside("add", folder, "--as", "me/x", home=tmp_path).ok().err


class TestWhatIsLeftOut:
    def test_a_partial_pull_lacks_no_shard(self, tmp_path: Path, hub: HubSim) -> None:
        call = pull(tmp_path, hub, "org/good", "--include", "*00001-of*", "--include", "*.json")
        assert kinds(call.ok()) == {}
        more = pull(tmp_path, hub, "org/good", "--exclude", "*00002-of*", "--strict").ok()
        assert kinds(more) == {}
        for command in (["show", "org/good"], ["verify"]):
            assert kinds(inside(*command, "--json", home=tmp_path).ok()) == {}

    def test_a_filter_of_add_is_meant(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "folder", GOOD)
        some = ["--exclude", "*00002-of*", "--strict", "--json"]
        call = inside("add", folder, "--as", "me/some", *some, home=tmp_path).ok()
        assert kinds(call) == {}
        # What is archived is all that there is of it.
        shown = kinds(inside("show", "me/some", "--json", home=tmp_path).ok())
        assert set(shown.values()) == {"shard-missing", "index"}

    def test_a_suspect_file_can_be_left_out(self, tmp_path: Path, hub: HubSim) -> None:
        call = pull(tmp_path, hub, "org/one", "--exclude", "pointer*", "--strict").ok()
        assert kinds(call) == {}


class TestStrict:
    @pytest.mark.parametrize("path", KINDS)
    def test_add_stores_nothing(self, tmp_path: Path, path: str) -> None:
        folder = write(tmp_path / "folder", {"README.md": b"# x\n", path: BAD[path]})
        call = inside("add", folder, "--as", "me/bad", "--strict", home=tmp_path)
        assert path in call.failed("suspect-content")
        assert not list((tmp_path / "archive" / "blobs").iterdir())
        assert held(tmp_path) == {}

    def test_a_dry_run_tells_what_names_tell(self, tmp_path: Path, hub: HubSim) -> None:
        call = pull(tmp_path, hub, "org/bad", "--dry-run").ok()
        assert set(kinds(call).values()) == {"empty", "shard-missing"}

    def test_pull_asks_for_no_file_where_names_tell(self, tmp_path: Path, hub: HubSim) -> None:
        hub.clear_log()
        call = inside("pull", "org/bad", "--from", hub.url, "--strict", home=tmp_path)
        assert "empty.safetensors: the file is empty" in call.failed("suspect-content")
        assert file_requests(hub) == []
        assert held(tmp_path) == {}

    @pytest.mark.parametrize("path", sorted({*KINDS} - TOLD_BY_NAME))
    def test_pull_does_not_seal(self, tmp_path: Path, hub: HubSim, path: str) -> None:
        some = ["--include", path, "--include", "README.md"]
        call = inside("pull", "org/bad", "--from", hub.url, "--strict", *some, home=tmp_path)
        assert path in call.failed("suspect-content")
        assert list((tmp_path / "archive" / "manifests").iterdir()) == []
        (line,) = inside("ls", "--json", home=tmp_path).ok().documents
        assert (line["manifest"], line["refs"]) == (None, [])
        with Archive(tmp_path / "archive") as archive:
            draft = archive.revision(Target.parse("org/bad").repo, line["revision"])
        assert [entry.path for entry in draft.files] == ["README.md"]
        check_archive(tmp_path / "archive")
        # It is refused again, and taken once the user says so.
        again = inside("pull", "org/bad", "--from", hub.url, "--strict", *some, home=tmp_path)
        again.failed("suspect-content")
        assert kinds(pull(tmp_path, hub, "org/bad", *some).ok()) == {path: KINDS[path]}

    def test_what_is_archived_already_is_refused_too(self, tmp_path: Path, hub: HubSim) -> None:
        pull(tmp_path, hub, "org/one").ok()
        before = held(tmp_path)
        call = inside("pull", "org/one", "--from", hub.url, "--strict", home=tmp_path)
        call.failed("suspect-content")
        assert held(tmp_path) == before

    def test_bytes_that_are_here_through_another_model(self, tmp_path: Path, hub: HubSim) -> None:
        folder = write(tmp_path / "folder", {"p.safetensors": POINTER})
        inside("add", folder, "--as", "me/p", home=tmp_path).ok()
        call = inside("pull", "org/one", "--from", hub.url, "--strict", home=tmp_path)
        call.failed("suspect-content")
        names = {line["repo"] for line in inside("ls", "--json", home=tmp_path).documents}
        assert names == {"me/p"}

    def test_adopt_refuses_the_revision(self, tmp_path: Path) -> None:
        cache(tmp_path, {"README.md": b"# x\n", "pointer.safetensors": POINTER})
        call = inside("adopt", "--strict", "--json", home=tmp_path)
        assert call.code == 4
        (problem,) = call.result["problems"]
        assert problem["code"] == "suspect-content"
        assert problem["path"] == "org/cached: pointer.safetensors"
        assert call.result["revisions"] == []
        assert held(tmp_path) == {}

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
            (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "Cannot allocate memory"),
            (MemoryError(), "not enough memory"),
        ],
    )
    def test_a_busy_machine_is_no_suspect_file(
        self,
        tmp_path: Path,
        hub: HubSim,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        said: str,
    ) -> None:
        """The answer is the machine's error, neither a refusal nor a clean bill."""
        pull(tmp_path, hub, "org/good").ok()

        def full(*_: Any, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(reading, "open_blob", full)
        call = inside("pull", "org/good", "--from", hub.url, "--strict", home=tmp_path)
        assert said in call.failed("exhausted")
        assert kinds(pull(tmp_path, hub, "org/good").ok()) == {}
        assert kinds(inside("show", "org/good", "--json", home=tmp_path).ok()) == {}


def test_what_is_lost_or_damaged_is_shown_all_the_same(tmp_path: Path, hub: HubSim) -> None:
    pull(tmp_path, hub, "org/one").ok()
    name = hashlib.sha256(POINTER).hexdigest()
    path = tmp_path / "archive" / "blobs" / name[:2] / name
    path.chmod(0o600)
    path.write_bytes(b"")
    assert inside("show", "org/one", "--json", home=tmp_path).ok().result["warnings"] == []
    path.unlink()
    assert inside("show", "org/one", "--json", home=tmp_path).ok().result["warnings"] == []


def cache(home: Path, files: dict[str, bytes]) -> None:
    """A Hugging Face cache with one revision of org/cached."""
    folder = home / "hf" / "hub" / "models--org--cached"
    commit = "1" * 40
    for path, data in files.items():
        name = hashlib.sha256(data).hexdigest()
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / name).write_bytes(data)
        link = folder / "snapshots" / commit / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder / "blobs" / name)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
