"""What a pull brings, and what it leaves alone, where nothing goes wrong."""

import hashlib
from pathlib import Path

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    DiskFullError,
    NotFoundError,
    RepoNotFoundError,
    RevisionNotFoundError,
)
from outlast.core.events import FileDone, Planned, Progress
from outlast.core.manifest import Revision
from outlast.store import disk
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim, add_alias
from tests.pull.kit import (
    BIG,
    FILES,
    TOTAL,
    Puller,
    check_archive,
    check_pulled,
    contents,
    file_requests,
    sent,
    tree,
)
from tests.warm.calls import outlast


def test_everything_arrives_and_is_named_rightly(hub: HubSim, pull: Puller) -> None:
    result = pull("org/name", hub.url)
    check_pulled(pull.home)
    head = HubRepo(hub.root, "org/name").head
    assert result.plan.commit.hex == head.sha
    assert (result.partial, sum(result.fetched.values())) == (False, TOTAL)
    assert result.manifest is not None
    data = (pull.home / "manifests" / f"{result.manifest}.json").read_bytes()
    assert Digest.of(data) == result.manifest
    for entry in Revision.from_bytes(data).files:
        content = FILES[entry.path]
        stored = head.files[entry.path]
        assert (entry.size, entry.sha256) == (len(content), Digest.of(content))
        git = None if stored.sha256 else GitOid.of_blob(content)
        assert entry.git_sha1 == git
        assert (entry.merkle_root is None) == (content == b"")


def test_the_events_tell_the_whole_story(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url)
    assert pull.events[0] == Planned("pull", "org/name", len(FILES), TOTAL, 0)
    progress = [event for event in pull.events if isinstance(event, Progress)]
    done = [event for event in pull.events if isinstance(event, FileDone)]
    assert {event.source for event in progress} == {hub.url}
    assert sum(event.count for event in progress) == TOTAL
    named = {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in FILES.items()}
    assert {event.path: (event.size, event.sha256) for event in done} == named


def test_a_large_file_comes_in_several_ranges(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url)
    ranges = {entry.range for entry in file_requests(hub) if entry.file == BIG}
    assert len(ranges) >= 3
    assert None not in ranges
    assert sent(hub) == TOTAL


def test_blobs_are_read_only(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url)
    assert {path.stat().st_mode & 0o777 for path in pull.home.glob("blobs/*/*")} == {0o444}
    assert list((pull.home / "tmp").iterdir()) == []
    assert list((pull.home / "partial").iterdir()) == []
    assert list(pull.home.glob("drafts/*/*/*/*")) == []


def test_a_second_pull_transfers_nothing(hub: HubSim, pull: Puller) -> None:
    first = pull("org/name", hub.url)
    before = tree(pull.home / "manifests")
    hub.clear_log()
    pull.events.clear()
    again = pull("org/name", hub.url)
    assert file_requests(hub) == []
    assert len(hub.requests()) <= 2
    assert (again.fetched, again.manifest) == ({}, first.manifest)
    assert again.plan.fetch_bytes == 0
    assert tree(pull.home / "manifests") == before


def test_a_new_commit_transfers_only_new_blobs(hub: HubSim, pull: Puller) -> None:
    old = pull("org/name", hub.url).plan.commit
    new = {"config.json": b'{"hidden_size": 65}', "moved.safetensors": FILES[BIG]}
    HubRepo(hub.root, "org/name").commit(new, delete=[BIG])
    hub.clear_log()
    result = pull("org/name", hub.url)
    assert {entry.file for entry in file_requests(hub)} == {"config.json"}
    assert sum(result.fetched.values()) == len(new["config.json"])
    assert contents(pull.home)["moved.safetensors"] == FILES[BIG]
    check_pulled(pull.home, FILES, f"org/name@{old}")


def test_one_content_is_fetched_once(hub: HubSim, pull: Puller) -> None:
    data = FILES[BIG]
    files = {"a.bin": data, "b.bin": data, "c.txt": b"same", "d.txt": b"same", "e": b"", "f": b""}
    HubRepo(hub.root, "org/twice").commit(files)
    pull("org/twice", hub.url)
    check_pulled(pull.home, files, "org/twice")
    assert sent(hub) == len(data) + len(b"same")


@pytest.mark.parametrize("ref", ["main", "v1.0", "dev/next", "refs/pr/1", "100%"])
def test_a_ref_is_resolved_and_remembered(hub: HubSim, pull: Puller, ref: str) -> None:
    repo = HubRepo(hub.root, "org/branchy")
    first = repo.commit({"a.txt": b"1"})
    repo.commit({"a.txt": b"2"})
    repo.set_ref(ref, first.sha, tag=ref.startswith("v"))
    result = pull(f"org/branchy@{ref}", hub.url)
    assert result.plan.commit.hex == first.sha
    check_pulled(pull.home, {"a.txt": b"1"}, f"org/branchy@{ref}")
    with Archive(pull.home) as archive:
        (known,) = archive.refs.list(result.plan.repo)
    assert (known.name, known.commit.hex, known.source) == (ref, first.sha, hub.url)
    assert known.kind == ("tag" if ref.startswith("v") else "branch")


@pytest.mark.parametrize("digits", [40, 12, 7])
def test_a_commit_is_no_ref(hub: HubSim, pull: Puller, digits: int) -> None:
    sha = HubRepo(hub.root, "org/name").head.sha
    HubRepo(hub.root, "org/name").commit({"later.txt": b"later"})
    result = pull(f"org/name@{sha[:digits]}", hub.url)
    assert result.plan.commit.hex == sha
    check_pulled(pull.home, FILES, f"org/name@{sha[:7]}")
    with Archive(pull.home) as archive:
        assert archive.refs.list(result.plan.repo) == []


def test_a_moved_branch_moves_here_too(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url)
    new = HubRepo(hub.root, "org/name").commit({"config.json": b"{}"})
    pull("org/name", hub.url)
    with Archive(pull.home) as archive:
        (ref,) = archive.refs.list(archive.summaries()[0].repo)
        assert ref.commit.hex == new.sha
        assert len(archive.summaries()) == 2


def test_datasets(hub: HubSim, pull: Puller) -> None:
    files = {"data/train.parquet": b"PAR1" * 100, "README.md": b"# data"}
    HubRepo(hub.root, "org/name", kind="dataset").commit(files)
    pull("datasets/org/name", hub.url)
    check_pulled(pull.home, files, "datasets/org/name")
    pull("org/name", hub.url)
    check_pulled(pull.home)
    assert contents(pull.home, "datasets/org/name") == files


def test_the_oldest_models_have_no_organisation(hub: HubSim, pull: Puller) -> None:
    HubRepo(hub.root, "gpt2").commit({"config.json": b"{}"})
    pull("gpt2", hub.url)
    check_pulled(pull.home, {"config.json": b"{}"}, "gpt2")


def test_a_renamed_model_is_found_under_its_old_name(hub: HubSim, pull: Puller) -> None:
    add_alias(hub.root, "old/name", "org/name")
    pull("old/name", hub.url)
    check_pulled(pull.home, FILES, "old/name")


def test_what_does_not_exist(hub: HubSim, pull: Puller) -> None:
    pull.tokens = {hub.url: "hf_right"}
    with pytest.raises(RepoNotFoundError):
        pull("org/absent", hub.url)
    with pytest.raises(RevisionNotFoundError):
        pull("org/name@absent", hub.url)
    with pytest.raises(RevisionNotFoundError):
        pull("org/name@" + "0" * 40, hub.url)
    with pytest.raises(NotFoundError, match="no file of"):
        pull("org/name", hub.url, include=["*.gguf"])
    check_archive(pull.home)


def test_a_model_without_files(hub: HubSim, pull: Puller) -> None:
    HubRepo(hub.root, "org/bare").commit({})
    pull("org/bare", hub.url)
    check_pulled(pull.home, {}, "org/bare")


@pytest.mark.parametrize("dead", ["draft", "nothing"])
def test_the_disk_is_looked_at_before_the_first_byte(
    hub: HubSim, pull: Puller, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    if dead == "draft":
        pull("org/name", hub.url, include=["config.json"])
    hub.clear_log()
    monkeypatch.setattr(disk, "free_bytes", lambda _path: TOTAL)
    with pytest.raises(DiskFullError, match="have to stay free"):
        pull("org/name", hub.url)
    assert file_requests(hub) == []
    assert list((pull.home / "partial").iterdir()) == []
    check_archive(pull.home)
    monkeypatch.undo()
    pull("org/name", hub.url)
    check_pulled(pull.home)


def test_an_impossible_size_does_not_fit(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "size", "size": 1 << 48, "file": "*"}])
    with pytest.raises(DiskFullError):
        pull("org/name", hub.url)
    assert file_requests(hub) == []


def test_a_dry_run_changes_nothing(hub: HubSim, tmp_path: Path) -> None:
    arguments = ("pull", "org/name", "--from", hub.url, "--dry-run", "--json")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    call = outlast(*arguments, home=tmp_path, env=env).ok()
    assert not (tmp_path / "archive").exists()
    assert list(temporary.iterdir()) == []
    assert call.result["type"] == "plan"
    assert set(call.result["to_fetch"]) == set(FILES)
    assert (call.result["to_fetch_bytes"], call.result["fits"]) == (TOTAL, True)
    assert call.result["manifest"] is None
    some = ("--include", "*.json", "--from", hub.url)
    outlast("pull", "org/name", *some, home=tmp_path, env=env).ok()
    before = tree(tmp_path / "archive")
    hub.clear_log()
    text = outlast("pull", "org/name", "--from", hub.url, "--dry-run", home=tmp_path).ok().out
    after = tree(tmp_path / "archive")
    index = {name for name in before | after if name.startswith("index")}
    assert {k: v for k, v in after.items() if k not in index} == {
        k: v for k, v in before.items() if k not in index
    }
    assert file_requests(hub) == []
    for word in ("wanted", "here", "to fetch", "free", "it fits", hub.url, BIG):
        assert word in text


def test_a_dry_run_says_when_it_does_not_fit(hub: HubSim, tmp_path: Path) -> None:
    hub.set_faults([{"action": "size", "size": 1 << 48, "file": BIG}])
    call = outlast("pull", "org/name", "--from", hub.url, "--dry-run", home=tmp_path).ok()
    assert "does NOT fit" in call.out
    assert file_requests(hub) == []
