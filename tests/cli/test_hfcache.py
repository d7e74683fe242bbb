"""Caches of a real huggingface_hub: one it filled is adopted, one that we laid out it reads."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.ops.adopt import adopt
from outlast.store.archive import Archive
from tests.cli.call import environment, inside
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import (
    BIG,
    FILES,
    check_archive,
    check_pulled,
    contents,
    file_requests,
    tree,
)

pytest.importorskip("huggingface_hub")

_CLIENT = """
import json, sys
import huggingface_hub as hub
calls = json.loads(sys.argv[1])
print(json.dumps([getattr(hub, call.pop("name"))(**call) for call in calls]))
"""


def client(home: Path, *calls: dict[str, str], endpoint: str = "") -> list[Path]:
    """Calls functions of huggingface_hub, each of which gives a path, in a process of their own;
    offline unless there is an endpoint.
    """
    env = environment(home) | {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_ENDPOINT": endpoint or "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0" if endpoint else "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, json.dumps(calls)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Path(path) for path in json.loads(done.stdout.splitlines()[-1])]


def snapshot(repo_id: str = "org/name", **more: str) -> dict[str, str]:
    return {"name": "snapshot_download", "repo_id": repo_id, **more}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hfcache") / "hub"
    repo = HubRepo(root, "org/name")
    repo.commit({**FILES, "config.json": b'{"old": 1}'}, tags=["v1.0"])
    repo.commit(FILES)
    HubRepo(root, "org/data", kind="dataset").commit({"a.parquet": b"PAR1"})
    return root


@pytest.fixture(scope="session")
def _filled(root: Path) -> Path:
    """A home folder whose cache a real client filled, below HF_HOME as it does."""
    home = root.with_name("filled")
    home.mkdir()
    with HubSim(root, mode="thread") as hub:
        both = (snapshot(revision=revision) for revision in ("main", "v1.0"))
        client(home, *both, snapshot("org/data", repo_type="dataset"), endpoint=hub.url)
    return home


@pytest.fixture
def cache(_filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(_filled / "hf", tmp_path / "hf", symlinks=True)
    return tmp_path / "hf" / "hub"


def blob_of(cache: Path, data: bytes) -> Path:
    return cache / "models--org--name" / "blobs" / hashlib.sha256(data).hexdigest()


def test_a_cache_is_adopted_without_a_second_copy(cache: Path, tmp_path: Path) -> None:
    before = tree(cache)
    call = inside("adopt", "--json", home=tmp_path).ok()
    archive = tmp_path / "archive"
    check_archive(archive)
    assert contents(archive) == FILES
    assert contents(archive, "org/name@v1.0")["config.json"] == b'{"old": 1}'
    assert contents(archive, "datasets/org/data") == {"a.parquet": b"PAR1"}
    assert len(call.result["revisions"]) == 3
    assert (call.result["problems"], call.result["copied_bytes"]) == ([], 0)
    assert tree(cache) == before
    name = hashlib.sha256(FILES[BIG]).hexdigest()
    assert os.path.samefile(blob_of(cache, FILES[BIG]), archive / "blobs" / name[:2] / name)
    again = inside("adopt", "--json", home=tmp_path).ok().result
    assert (again["linked_bytes"], again["copied_bytes"]) == (0, 0)


def test_what_is_adopted_is_partial_until_it_is_pulled(
    cache: Path, root: Path, tmp_path: Path
) -> None:
    assert cache.is_dir()
    inside("adopt", home=tmp_path).ok()
    assert inside("show", "org/name", "--json", home=tmp_path).ok().result["partial"] is True
    with HubSim(root, mode="thread") as hub:
        inside("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
        assert file_requests(hub) == []
    shown = inside("show", "org/name", "--json", home=tmp_path).ok().result
    assert (shown["partial"], shown["unlisted"]) == (False, False)
    check_pulled(tmp_path / "archive")


@pytest.mark.parametrize("damage", ["flip", "truncate", "append", "empty"])
def test_a_corrupt_blob_is_reported_and_the_rest_taken(
    cache: Path, tmp_path: Path, damage: str
) -> None:
    blob = blob_of(cache, FILES[BIG])
    data = bytearray(FILES[BIG])
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "truncate":
        del data[-1:]
    elif damage == "append":
        data += b"x"
    else:
        data.clear()
    os.chmod(blob, 0o644)
    blob.write_bytes(data)
    call = inside("adopt", "--json", home=tmp_path)
    assert call.code == 4
    assert {problem["code"] for problem in call.result["problems"]} == {"corrupt"}
    assert all(BIG in problem["path"] for problem in call.result["problems"])
    assert blob.read_bytes() == data
    check_archive(tmp_path / "archive")
    held = contents(tmp_path / "archive")
    assert held == {path: content for path, content in FILES.items() if path != BIG}
    text = inside("adopt", home=tmp_path)
    assert (text.code, "corrupt" in text.err) == (4, True)


def test_a_corrupt_small_file(cache: Path, tmp_path: Path) -> None:
    data = FILES["README.md"]
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    blob = cache / "models--org--name" / "blobs" / git
    os.chmod(blob, 0o644)
    blob.write_bytes(data[::-1])
    call = inside("adopt", "--json", home=tmp_path)
    assert call.code == 4
    assert all("README.md" in problem["path"] for problem in call.result["problems"])
    assert "README.md" not in contents(tmp_path / "archive")


def test_only_some_of_a_cache(cache: Path, tmp_path: Path) -> None:
    inside("adopt", cache, "--only", "datasets/org/data", home=tmp_path).ok()
    (line,) = inside("ls", "--json", home=tmp_path).ok().documents
    assert line["repo"] == "datasets/org/data"
    inside("adopt", cache, "--only", "org/absent", home=tmp_path).failed("not-found")


def test_copies_where_asked(cache: Path, tmp_path: Path) -> None:
    call = inside("adopt", "--copy", "--json", home=tmp_path).ok()
    assert call.result["linked_bytes"] == 0
    assert call.result["copied_bytes"] > sum(map(len, FILES.values()))
    assert blob_of(cache, FILES[BIG]).stat().st_nlink == 1
    check_archive(tmp_path / "archive")


def test_adopting_completes_what_a_pull_left_out(cache: Path, root: Path, tmp_path: Path) -> None:
    """What adopt says it took must be there, and stay there."""
    assert cache.is_dir()
    with HubSim(root, mode="thread") as hub:
        some = ("--include", "*.json", "--from", hub.url)
        inside("pull", "org/name", *some, home=tmp_path).ok()
    inside("adopt", home=tmp_path).ok()
    inside("gc", home=tmp_path).ok()
    check_pulled(tmp_path / "archive")
    assert inside("show", "org/name", "--json", home=tmp_path).ok().result["partial"] is False


def test_a_cache_with_odd_things_in_it(cache: Path, tmp_path: Path) -> None:
    odd = cache / "models--org--name"
    (cache / "models--").mkdir()
    (cache / "models--a--b--c" / "snapshots" / "x").mkdir(parents=True)
    (cache / "version.txt").write_text("1")
    (odd / "snapshots" / "not-a-commit").mkdir()
    (odd / "refs" / "broken").write_text("\x00" * 40)
    (odd / "blobs" / "abc.incomplete").write_text("half")
    (snapshot, *_) = (path for path in odd.glob("snapshots/*") if len(path.name) == 40)
    (snapshot / "dangling").symlink_to("../../blobs/none")
    (snapshot / "outside").symlink_to("/etc/passwd")
    (snapshot / "plain.txt").write_text("no claim")
    call = inside("adopt", "--json", home=tmp_path)
    assert call.code == 4
    refused = {problem["path"].partition(": ")[2] for problem in call.result["problems"]}
    assert {"outside", "plain.txt"} <= refused
    check_archive(tmp_path / "archive")
    assert b"root:" not in b"".join(p.read_bytes() for p in tmp_path.glob("archive/blobs/*/*"))


@pytest.fixture(scope="session")
def _pulled(root: Path) -> Path:
    home = root.with_name("pulled")
    home.mkdir()
    with HubSim(root, mode="thread") as hub:
        for target in ("org/name", "org/name@v1.0", "datasets/org/data"):
            inside("pull", target, "--from", hub.url, home=home).ok()
    return home


@pytest.fixture
def archived(_pulled: Path, tmp_path: Path) -> Path:
    shutil.copytree(_pulled / "archive", tmp_path / "archive")
    return tmp_path


def test_the_real_client_reads_our_layout_offline(archived: Path) -> None:
    laid = inside("link", "org/name", "--json", home=archived).ok().result
    inside("link", "org/name@v1.0", home=archived).ok()
    inside("link", "datasets/org/data", home=archived).ok()
    named = {"repo_id": "org/name", "cache_dir": laid["cache"]}
    folder, old, pinned, data = client(
        archived,
        snapshot(**named),
        {"name": "hf_hub_download", "filename": "config.json", "revision": "v1.0", **named},
        snapshot(**named, revision=Path(laid["snapshot"]).name),
        snapshot("org/data", repo_type="dataset", cache_dir=laid["cache"]),
    )
    assert folder == pinned == Path(laid["snapshot"])
    for path, content in FILES.items():
        assert (folder / path).read_bytes() == content
        name = hashlib.sha256(content).hexdigest()
        assert os.path.samefile(folder / path, archived / "archive" / "blobs" / name[:2] / name)
    assert old.read_bytes() == b'{"old": 1}'
    assert (data / "a.parquet").read_bytes() == b"PAR1"


def test_the_client_finds_nothing_to_download_in_our_layout(archived: Path, root: Path) -> None:
    cache = inside("link", "org/name", "--json", home=archived).ok().result["cache"]
    with HubSim(root, mode="thread") as hub:
        [folder] = client(archived, snapshot(cache_dir=cache), endpoint=hub.url)
        assert not [entry for entry in file_requests(hub) if entry.method == "GET"]
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(
        FILES
    )
    inside("verify", home=archived).ok()


def test_a_plain_folder(archived: Path) -> None:
    folder = archived / "plain"
    call = inside("link", "org/name", "--folder", folder, home=archived).ok()
    assert call.out == f"{folder}\n"
    assert {k: v for k, v in tree(folder).items() if v is not None} == FILES
    assert not [path for path in folder.rglob("*") if path.name.startswith(".outlast")]
    again = inside("link", "org/name", "--folder", folder, home=archived).ok()
    assert again.out == call.out
    inside("link", "org/name@v1.0", "--folder", folder, home=archived).ok()
    assert (folder / "config.json").read_bytes() == b'{"old": 1}'
    inside("verify", home=archived).ok()


def test_what_is_not_ours_is_left_alone(archived: Path) -> None:
    folder = archived / "plain"
    folder.mkdir()
    (folder / "config.json").write_text("mine")
    message = inside("link", "org/name", "--folder", folder, home=archived).failed("storage")
    assert "config.json" in message
    assert (folder / "config.json").read_text() == "mine"
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    inside("link", "org/name", "--folder", folder, home=archived).failed("storage")
    assert not [path for path in folder.rglob("*") if path.name.startswith(".outlast")]


def test_links_stay_after_an_rm_and_gc(archived: Path) -> None:
    """Hard links own their bytes: programs that run from them go on."""
    folder = archived / "plain"
    inside("link", "org/name", "--folder", folder, home=archived).ok()
    for target in ("org/name", "datasets/org/data"):
        inside("rm", target, home=archived).ok()
    inside("gc", home=archived).ok()
    assert (folder / BIG).read_bytes() == FILES[BIG]


def test_a_program_cannot_write_through_a_link(archived: Path) -> None:
    folder = archived / "plain"
    inside("link", "org/name", "--folder", folder, home=archived).ok()
    assert (folder / BIG).stat().st_mode & 0o222 == 0


@pytest.mark.parametrize(
    "name", ["readme.MD", "a/C1_or_C2?_premise/x.json", "aux.json", "b\\c.txt", "trailing. "]
)
def test_names_of_a_cache_that_not_every_system_has_are_adopted(
    cache: Path, tmp_path: Path, name: str
) -> None:
    (snapshot,) = (cache / "models--org--name" / "refs" / "main").read_text().split()
    folder = cache / "models--org--name" / "snapshots" / snapshot
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(os.path.realpath(folder / "README.md"))
    call = inside("adopt", "--json", home=tmp_path).ok()
    assert call.result["problems"] == []
    check_archive(tmp_path / "archive")
    held = contents(tmp_path / "archive")
    assert held == {**FILES, name: FILES["README.md"]}


def test_an_unsafe_name_in_a_cache_does_not_stop_the_rest(cache: Path, tmp_path: Path) -> None:
    (snapshot,) = (cache / "models--org--name" / "refs" / "main").read_text().split()
    folder = cache / "models--org--name" / "snapshots" / snapshot
    (folder / "new\nline").symlink_to(os.readlink(folder / "README.md"))
    call = inside("adopt", "--json", home=tmp_path)
    assert call.code == 4
    assert "Traceback" not in call.err
    (problem,) = call.result["problems"]
    assert "new\nline" in problem["path"]
    assert contents(tmp_path / "archive") == FILES
    for document in inside("ls", "--json", home=tmp_path).ok().documents:
        assert document["partial"] is True


def test_a_model_without_a_ref_is_private_until_its_hub_says_more(tmp_path: Path) -> None:
    """Its cache does not tell, and no ref says that it came from there."""
    name = GitOid.of_blob(b"{}").hex
    model = tmp_path / "hub" / "models--org--one"
    snapshot = model / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (model / "blobs").mkdir()
    (model / "blobs" / name).write_bytes(b"{}")
    (snapshot / "config.json").symlink_to(f"../../blobs/{name}")
    with Archive(tmp_path / "archive", create=True) as archive:
        adopt(archive, tmp_path / "hub", only=(), copy=False, control=Control())
        one = RepoId.parse("org/one")
        assert archive.commits(one)
        assert archive.refs.about(one).private
        assert not archive.refs.may_tell(one)
