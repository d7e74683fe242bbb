"""Files whose names not every system takes: kept under them, and found by them, to the end."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.control import Control
from outlast.core.names import Target, are_portable
from outlast.ops import run as run_ops
from outlast.store.archive import Archive
from tests.cli.call import Call, inside
from tests.cli.test_hfcache import client, snapshot
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import check_archive, contents, tree
from tests.serve.node import Node
from tests.store.weights import model

FILES = {
    "config.json": b"{}\n",
    "a/C1_or_C2?_premise/x.json": b"premise\n" * 40_000,
    "aux.json": b"a device\n",
    "b\\c.txt": b"a backslash\n",
    "A.txt": b"one\n",
    "a.txt": b"another\n",
    "trailing. ": b"a space\n",
    "literal%3F.txt": b"no escape\n",
    'sub:dir/"all" <of> them*|.bin': b"\0\1" * 4000,
}
ESCAPED = {
    "a/C1_or_C2?_premise/x.json": "a/C1_or_C2%3F_premise/x.json",
    "aux.json": "%61ux.json",
    "b\\c.txt": "b%5Cc.txt",
    "A.txt": "%41.txt",
    "trailing. ": "trailing.%20",
    "literal%3F.txt": "literal%253F.txt",
    'sub:dir/"all" <of> them*|.bin': "sub%3Adir/%22all%22 %3Cof%3E them%2A%7C.bin",
}
NAME = "org/wide"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names") / "hub"
    HubRepo(root, NAME).commit(FILES)
    return root


@pytest.fixture
def hub(root: Path) -> Iterator[HubSim]:
    with HubSim(root, mode="thread") as sim:
        yield sim


@pytest.fixture
def home(hub: HubSim, tmp_path: Path) -> Path:
    """A home with an archive that has the whole model."""
    call = inside("pull", NAME, "--from", hub.url, home=tmp_path).ok()
    assert "PARTIAL" not in call.err
    return tmp_path


def written(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(folder).items() if data is not None}


def manifest(home: Path) -> Any:
    (path,) = (home / "archive" / "manifests").iterdir()
    return json.loads(path.read_bytes())


def test_a_pull_keeps_them(home: Path) -> None:
    assert contents(home / "archive", NAME) == FILES
    check_archive(home / "archive")
    assert manifest(home)["type"] == "outlast-manifest-v2"
    shown = inside("show", NAME, "--json", home=home).ok().result
    assert {entry["path"] for entry in shown["files"]} == FILES.keys()
    assert (shown["partial"], shown["missing"]) == (False, [])
    assert all(line.isprintable() for line in inside("show", NAME, home=home).ok().out.split("\n"))
    assert inside("ls", "--json", home=home).ok().result["partial"] is False


@pytest.mark.parametrize("path", sorted(FILES))
def test_one_that_is_left_out_is_missing(hub: HubSim, tmp_path: Path, path: str) -> None:
    pattern = path.translate({ord(sign): f"[{sign}]" for sign in "*?["})
    call = inside("pull", NAME, "--from", hub.url, "--exclude", pattern, "--json", home=tmp_path)
    assert call.ok().result["partial"] is True
    document = manifest(tmp_path)
    assert [entry["path"] for entry in document["missing"]] == [path]
    assert {entry["path"] for entry in document["files"]} == FILES.keys() - {path}
    completed = inside("pull", NAME, "--from", hub.url, "--json", home=tmp_path).ok()
    assert completed.result["partial"] is False
    assert contents(tmp_path / "archive", NAME) == FILES


def test_an_archive_of_them_is_kept_like_any_other(home: Path, hub: HubSim) -> None:
    report = inside("verify", "--json", home=home).ok().result
    assert report["problems"] == []
    inside("pack", home=home).ok()
    inside("doctor", "--rebuild", home=home).ok()
    inside("gc", "--now", home=home).ok()
    check_archive(home / "archive")
    assert contents(home / "archive", NAME) == FILES
    hub.clear_log()
    inside("pull", NAME, "--from", hub.url, home=home).ok()
    assert hub.requests(what="resolve") == []
    removed = inside("rm", NAME, "--json", home=home).ok()
    assert "Traceback" not in removed.err
    inside("gc", "--now", home=home).ok()
    assert not list((home / "archive").glob("blobs/*/*"))
    assert not list((home / "archive").glob("capsules/*/*"))


def test_a_folder_of_them_is_added(tmp_path: Path) -> None:
    for path, data in FILES.items():
        (tmp_path / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / path).write_bytes(data)
    added = (
        inside("add", tmp_path / "model", "--as", "me/wide", "--json", home=tmp_path).ok().result
    )
    assert contents(tmp_path / "archive", "me/wide") == FILES
    named = added["manifest"]
    inside("link", "me/wide", "--folder", tmp_path / "out", home=tmp_path).ok()
    assert written(tmp_path / "out") == FILES
    again = inside("add", tmp_path / "out", "--as", "me/wide", "--json", home=tmp_path).ok().result
    assert again["manifest"] == named


def test_a_name_that_is_not_safe_is_not_added(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "new\nline").write_bytes(b"x")
    (tmp_path / "model" / os.fsdecode(b"\xff.txt")).write_bytes(b"x")
    assert "unsafe" in inside("add", "model", "--as", "me/x", home=tmp_path).failed("bad-name")
    assert not list((tmp_path / "archive").glob("manifests/*"))


# Exit


def test_a_folder_has_them_as_they_are(home: Path) -> None:
    folder = home / "out"
    call = inside("link", NAME, "--folder", folder, "--json", home=home).ok()
    assert call.result["escaped"] == {}
    assert written(folder) == FILES
    inside("link", NAME, "--folder", folder, home=home).ok()
    assert written(folder) == FILES


def test_a_portable_folder_has_them_escaped(home: Path) -> None:
    folder = home / "out"
    call = inside("link", NAME, "--folder", folder, "--portable", "--json", home=home).ok()
    assert call.result["escaped"] == {str(folder): ESCAPED}
    assert written(folder) == {ESCAPED.get(path, path): data for path, data in FILES.items()}
    assert are_portable(written(folder))
    said = inside("link", NAME, "--folder", folder, "--portable", home=home).ok().err
    (line,) = [line for line in said.splitlines() if "escaped" in line]
    assert line.startswith(f"7 names are escaped in {folder}: ")


def test_a_cache_has_them_for_huggingface_hub(home: Path) -> None:
    cache = home / "hf" / "hub"
    call = inside("link", NAME, "--cache", cache, "--json", home=home).ok()
    assert call.result["escaped"] == {}
    asked = [{"name": "hf_hub_download", "repo_id": NAME, "filename": path} for path in FILES]
    folder, *found = client(home, snapshot(NAME), *asked)
    assert written(folder) == FILES
    assert [path.read_bytes() for path in found] == list(FILES.values())


def _like_fat(monkeypatch: pytest.MonkeyPatch) -> None:
    """New files as on a disk of Windows: some characters are refused, case does not count, and
    dots and spaces at the end are cut. No such file system can be mounted everywhere.
    """
    real, seen = os.open, set[str]()

    def opened(path: Any, flags: int, *more: Any, **options: Any) -> int:
        text = os.fspath(path)
        if flags & os.O_EXCL and isinstance(text, str):
            if set(text) & set('<>:"|?*\\'):
                raise OSError(errno.EINVAL, "Invalid argument", text)
            if text.lower() in seen:
                raise OSError(errno.EEXIST, "File exists", text)
            seen.add(text.lower())
            path = text.rstrip(". ")
        return real(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize("path", sorted(set(ESCAPED) - {"literal%3F.txt", "aux.json"}))
def test_what_the_file_system_refuses_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    files = {path: FILES[path], "config.json": b"{}\n", "a.txt": b"another\n"}
    for name, data in files.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(data)
    inside("add", tmp_path / "model", "--as", "me/wide", home=tmp_path).ok()
    before = set((tmp_path).iterdir())
    _like_fat(monkeypatch)
    call = inside(
        "link", "me/wide", "--folder", tmp_path / "out", "--cache", tmp_path / "c", home=tmp_path
    ).ok()
    assert call.err.count(f"1 name is escaped in {tmp_path}") == 2
    assert f"{path!r} is {ESCAPED[path]!r}" in call.err
    shown = {ESCAPED.get(name, name): data for name, data in files.items()}
    assert written(tmp_path / "out") == shown
    (snapshots,) = (tmp_path / "c").glob("models--me--wide/snapshots/*")
    assert written(snapshots) == shown
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out", tmp_path / "c"}


# Other programs


@pytest.mark.parametrize("upstream", [False, True], ids=["serve", "mirror"])
def test_huggingface_hub_gets_them_from_serve(
    home: Path, hub: HubSim, tmp_path: Path, *, upstream: bool
) -> None:
    flags = ["--upstream", hub.url] if upstream else []
    with Node(tmp_path / "mirror" if upstream else home / "archive", *flags) as node:
        (folder,) = client(tmp_path, snapshot(NAME), endpoint=node.url)
        assert written(folder) == FILES
        info = node.get(f"/api/models/{NAME}").json
        assert info["partial"] is False
        assert {row["rfilename"] for row in info["siblings"]} == FILES.keys()
        rows = node.get(f"/api/models/{NAME}/tree/main?recursive=1").json
        assert {row["path"] for row in rows if row["type"] == "file"} == FILES.keys()
        page = node.get(f"/{NAME}/tree/main", Accept="text/html").body.decode()
        for quoted in ("a.txt", "b%5Cc.txt", "aux.json", "trailing.%20", "literal%253F.txt"):
            assert f'href="/{NAME}/raw/main/{quoted}"' in page
        assert f'href="/{NAME}/tree/main/sub%3Adir"' in page
        reply = node.get(f"/{NAME}/resolve/main/a/C1_or_C2%3F_premise/x.json")
        assert reply.body == FILES["a/C1_or_C2?_premise/x.json"]
        reply = node.get(f"/{NAME}/resolve/main/b%5Cc.txt")
        assert reply.headers["Content-Disposition"] == 'inline; filename="b_c.txt"'


def test_a_mirror_and_a_pull_from_it_have_no_less(hub: HubSim, tmp_path: Path) -> None:
    with Node(tmp_path / "mirror", "--upstream", hub.url) as node:
        call: Call = inside("pull", NAME, "--from", node.url, "--json", home=tmp_path).ok()
        assert call.result["partial"] is False
    assert contents(tmp_path / "archive", NAME) == FILES


@pytest.mark.parametrize("fat", [False, True], ids=["any-name", "like-fat"])
@pytest.mark.parametrize("inner", ["what?", "aux:", "Twin"])
def test_an_engine_finds_the_folder_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, *, fat: bool
) -> None:
    """Its own name, or the escaped one that all of its files are in."""
    files = {
        f"{inner}/config.json": b"{}",
        f"{inner}/model.safetensors": model(1, 10_000),
        f"{inner}/tokenizer.json": b"{}",
        "twin/tokenizer.json": b"{}",
    }
    for name, data in files.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(data)
    inside("add", tmp_path / "model", "--as", "me/wide", home=tmp_path).ok()
    if fat:
        _like_fat(monkeypatch)
    with (
        Archive(tmp_path / "archive") as archive,
        run_ops.prepare(
            archive,
            Target.parse("me/wide"),
            wanted=None,
            engine=None,
            recheck=False,
            control=Control(),
        ) as prepared,
    ):
        assert prepared.folder is not None
        own = {name.rpartition("/")[2]: data for name, data in files.items() if inner in name}
        assert written(prepared.folder) == own
        assert (prepared.folder.name == inner) is not fat
