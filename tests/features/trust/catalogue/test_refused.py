"""What a follower refuses, and that what it had stays."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Snapshot, SuccinctRoles, Targets

from outlast.core.errors import (
    BadNameError,
    CatalogueRefusedError,
    NotFoundError,
    OutlastError,
    UnreachableError,
)
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.names import (
    OTHERS,
    metadata_path,
    namespace,
    publisher_role,
)
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.sync import sync
from outlast.features.trust.catalogue.trusted import TARGETS
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.features.trust.catalogue.using.opened import OpenCatalogues
from tests.features.trust.catalogue.forging import republish, rewrite
from tests.features.trust.catalogue.shelf import DAY, NOW, Shelf, entry, follow_it, sync_it


def listed(home: Path, shelf: Shelf) -> set[str]:
    """What the follower has, read anew."""
    catalogues = OpenCatalogues(home, clock=lambda: shelf.now)
    return {one.entry.name.path for each in catalogues.each() for one in each.all()}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(home: Path, shelf: Shelf, match: str | None = None) -> None:
    before = listed(home, shelf)
    assert before
    with pytest.raises(CatalogueRefusedError, match=match):
        sync_it(home, shelf)
    assert listed(home, shelf) == before


# Replays


def test_an_older_timestamp_is_a_rollback(followed: Path, shelf: Shelf, tmp_path: Path) -> None:
    shutil.copytree(shelf.folder, tmp_path / "old")
    shelf.publish(entry("a/c"))
    sync_it(followed, shelf)
    before = listed(followed, shelf)
    with pytest.raises(CatalogueRefusedError, match="rollback: timestamp 2 after 3"):
        sync(followed, "acme", FolderPlace(tmp_path / "old"), NOW)
    assert listed(followed, shelf) == before


def test_a_frozen_catalogue_goes_stale_and_never_current(followed: Path, shelf: Shelf) -> None:
    shelf.now = NOW + 15 * DAY
    done = sync_it(followed, shelf)
    assert done.freshness.text.startswith("stale since 2031-05-15")
    assert listed(followed, shelf)


def test_an_older_list_under_a_new_snapshot_is_mixed(followed: Path, shelf: Shelf) -> None:
    old = (shelf.folder / metadata_path(OTHERS, 2)).read_bytes()
    shelf.publish(entry("a/c"))
    (shelf.folder / metadata_path(OTHERS, 3)).write_bytes(old)
    refused(followed, shelf)


def test_a_snapshot_with_an_older_list_is_a_rollback(followed: Path, shelf: Shelf) -> None:
    def older(snapshot: Snapshot) -> None:
        snapshot.meta[f"{OTHERS}.json"].version -= 1

    republish(shelf, {}, edit=older)
    refused(followed, shelf, "rollback")


def test_a_snapshot_that_forgets_a_list(followed: Path, shelf: Shelf) -> None:
    def forgetful(snapshot: Snapshot) -> None:
        del snapshot.meta[f"{OTHERS}.json"]

    republish(shelf, {}, edit=forgetful)
    refused(followed, shelf, "missing")


# Signatures and bytes


@pytest.mark.parametrize(("name", "version"), [("timestamp", None), ("snapshot", 3), (OTHERS, 3)])
def test_a_byte_that_was_changed(
    followed: Path, shelf: Shelf, name: str, version: int | None
) -> None:
    shelf.publish(entry("a/c"))
    rewrite(shelf, name, version, lambda d: d["signed"].update(spec_version="1.0.30"))
    refused(followed, shelf)


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
@pytest.mark.parametrize(("name", "version"), [("timestamp", None), ("snapshot", 3), (OTHERS, 3)])
def test_a_truncated_file(
    followed: Path, shelf: Shelf, name: str, version: int | None, keep: int
) -> None:
    shelf.publish(entry("a/c"))
    path = shelf.folder / metadata_path(name, version)
    path.write_bytes(path.read_bytes()[:keep])
    refused(followed, shelf)


def _no_signature(document: dict[str, Any]) -> None:
    document["signatures"] = []


def _text_for_version(document: dict[str, Any]) -> None:
    document["signed"]["version"] = "9"


def _huge(document: dict[str, Any]) -> None:
    document["signed"]["version"] = 10**400


def _no_number(document: dict[str, Any]) -> None:
    document["signed"]["version"] = float("nan")


def _nested(document: dict[str, Any]) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    document["signed"]["x"] = deep


def _other_type(document: dict[str, Any]) -> None:
    document["signed"]["_type"] = "root"


def _no_meta(document: dict[str, Any]) -> None:
    document["signed"]["meta"] = None


@pytest.mark.parametrize(
    "change",
    [_no_signature, _text_for_version, _huge, _no_number, _nested, _other_type, _no_meta],
)
def test_a_malformed_timestamp(
    followed: Path, shelf: Shelf, change: Callable[[dict[str, Any]], None]
) -> None:
    shelf.publish(entry("a/c"))
    rewrite(shelf, "timestamp", None, change)
    refused(followed, shelf)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff\xfe", b'{"signed":1}', b"[" * 10_000])
def test_what_is_no_metadata(followed: Path, shelf: Shelf, data: bytes) -> None:
    (shelf.folder / "metadata/timestamp.json").write_bytes(data)
    refused(followed, shelf)


def test_a_key_that_is_written_twice(followed: Path, shelf: Shelf) -> None:
    path = shelf.folder / "metadata/timestamp.json"
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":3,"version":2', 1))
    refused(followed, shelf)


@pytest.mark.parametrize(
    ("name", "version", "size"),
    [("timestamp", None, TUNING.timestamp), ("root", 2, TUNING.root), (OTHERS, 3, 0)],
)
def test_a_file_that_is_too_long_is_not_read(
    followed: Path, shelf: Shelf, name: str, version: int | None, size: int
) -> None:
    shelf.publish(entry("a/c"))
    path = shelf.folder / metadata_path(name, version)
    path.write_bytes(b" " * (size or path.stat().st_size + 1))
    with path.open("ab") as file:
        file.truncate(1 << 40)  # a hole: reading all of it would not end
    refused(followed, shelf)


def test_a_file_without_end(followed: Path, shelf: Shelf) -> None:
    path = shelf.folder / "metadata/timestamp.json"
    path.unlink()
    path.symlink_to("/dev/zero")
    refused(followed, shelf, "not a file")


def test_a_place_that_has_gone_leaves_what_there_was(followed: Path, shelf: Shelf) -> None:
    before = tree(followed)
    shelf.folder.rename(shelf.folder.with_name("gone"))
    with pytest.raises(CatalogueRefusedError, match="not a whole catalogue"):
        sync_it(followed, shelf)
    assert tree(followed) == before


def test_a_place_that_lacks_a_list(followed: Path, shelf: Shelf) -> None:
    shelf.publish(entry("a/c"))
    (shelf.folder / metadata_path(OTHERS, 3)).unlink()
    refused(followed, shelf, "not a whole catalogue")


# Whose names


def test_a_publisher_lists_its_own_names_alone(followed: Path, shelf: Shelf) -> None:
    keys = shelf.publisher("acme", "acme")
    mine, others = entry("acme/model"), entry("evil/model")
    own = read_own(shelf.folder, NOW)
    _, targets = own.lists[publisher_role("acme")]
    targets.targets = {e.name.path: e.to_target() for e in (mine, others)}
    republish(shelf, {publisher_role("acme"): targets}, ring=shelf.ring(shelf.keys, keys))
    done = sync_it(followed, shelf)
    assert mine.name.path in listed(followed, shelf)
    assert others.name.path not in listed(followed, shelf)
    assert any("not delegated to acme" in text for text in done.refused)


@pytest.mark.parametrize("name", ["acme/model", "ACME/model", "datasets/acme/data"])
def test_no_other_role_lists_the_names_of_a_publisher(
    followed: Path, shelf: Shelf, name: str
) -> None:
    shelf.publisher("acme", "acme")
    stolen = entry(name)
    own = read_own(shelf.folder, NOW)
    _, targets = own.lists[OTHERS]
    targets.targets[stolen.name.path] = stolen.to_target()
    republish(shelf, {OTHERS: targets})
    done = sync_it(followed, shelf)
    assert stolen.name.path not in listed(followed, shelf)
    assert any("alone to list" in text for text in done.refused)


def test_a_diamond_is_refused(followed: Path, shelf: Shelf) -> None:
    """A list that two roles delegate to: as of python-tuf's issue 2977. Here a bin of one publisher
    has the name of another publisher's role.
    """
    keys = shelf.publisher("acme", "acme")
    own = read_own(shelf.folder, NOW)
    top = own.trusted.targets
    assert top.delegations is not None
    assert top.delegations.roles is not None
    one = publisher_role("acme")
    delegated = top.delegations.roles[one]
    twin = DelegatedRole(
        f"{one}.1-0",
        delegated.keyids,
        1,
        terminating=True,
        paths=list(namespace("acme.1-0")),
    )
    others = top.delegations.roles.pop(OTHERS)
    top.delegations.roles |= {twin.name: twin, OTHERS: others}
    _, head = own.lists[one]
    head.delegations = Delegations(
        {keyid: top.delegations.keys[keyid] for keyid in delegated.keyids},
        succinct_roles=SuccinctRoles(delegated.keyids, 1, 1, f"{one}.1"),
    )
    bins = {f"{one}.1-{number}": Targets(expires=NOW + 90 * DAY) for number in (0, 1)}
    republish(shelf, {TARGETS: top, one: head, **bins}, ring=shelf.ring(shelf.keys, keys))
    refused(followed, shelf, "two roles delegate")


def test_no_publisher_has_the_name_of_a_bin(shelf: Shelf) -> None:
    with pytest.raises(BadNameError, match="a bin"):
        shelf.publisher("acme.1-0", "acme")


def test_a_publisher_that_delegates_further(followed: Path, shelf: Shelf) -> None:
    keys = shelf.publisher("acme", "acme")
    own = read_own(shelf.folder, NOW)
    _, targets = own.lists[publisher_role("acme")]
    top = own.trusted.targets
    assert top.delegations is not None
    role = DelegatedRole(
        "deeper", list(top.delegations.keys)[:1], 1, terminating=False, paths=["*"]
    )
    targets.delegations = Delegations(dict(top.delegations.keys), {"deeper": role})
    republish(
        shelf,
        {publisher_role("acme"): targets, "deeper": Targets(expires=NOW + DAY)},
        ring=shelf.ring(shelf.keys, keys),
    )
    refused(followed, shelf, "otherwise than to bins")


def test_bins_without_number(followed: Path, shelf: Shelf) -> None:
    own = read_own(shelf.folder, NOW)
    _, targets = own.lists[OTHERS]
    top = own.trusted.targets
    assert top.delegations is not None
    targets.targets = {}
    targets.delegations = Delegations(
        dict(top.delegations.keys),
        succinct_roles=SuccinctRoles(list(top.delegations.keys), 1, 32, f"{OTHERS}.32"),
    )
    republish(shelf, {OTHERS: targets})
    refused(followed, shelf, "otherwise than to bins")


def test_a_publisher_with_wider_patterns(followed: Path, shelf: Shelf) -> None:
    shelf.publisher("acme", "acme")
    own = read_own(shelf.folder, NOW)
    top = own.trusted.targets
    assert top.delegations is not None
    assert top.delegations.roles is not None
    top.delegations.roles[publisher_role("acme")].paths = ["*/*/*"]
    republish(shelf, {TARGETS: top})
    refused(followed, shelf, "other patterns")


@pytest.mark.parametrize(
    "source",
    [
        "bundle:/etc",
        "file:///etc",
        "store+file:///etc",
        "s3://bucket/x",
        "folder",
        "https://h/\n",
        7,
        "x" * 5000,
    ],
)
def test_sources_that_are_none(followed: Path, shelf: Shelf, source: object) -> None:
    own = read_own(shelf.folder, NOW)
    _, targets = own.lists[OTHERS]
    bad = entry("a/bad").to_target()
    custom = bad.custom
    assert custom is not None
    custom["outlast"]["sources"] = [source]
    targets.targets[entry("a/bad").name.path] = bad
    republish(shelf, {OTHERS: targets})
    done = sync_it(followed, shelf)
    assert entry("a/bad").name.path not in listed(followed, shelf)
    assert done.refused


def test_more_entries_than_are_taken(followed: Path, shelf: Shelf) -> None:
    shelf.publish(*[entry(f"a/m{n}") for n in range(20)])
    before = listed(followed, shelf)
    with pytest.raises(CatalogueRefusedError, match="more than 10"):
        sync(followed, "acme", FolderPlace(shelf.folder), NOW, tuning=replace(TUNING, entries=10))
    assert listed(followed, shelf) == before


# Errors of places


def test_where_there_is_no_catalogue(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError):
        follow_it(home, Shelf(tmp_path / "empty"), root=False)


class Flaky:
    """A folder that stops answering after some files."""

    def __init__(self, folder: Path, files: int) -> None:
        self._place = FolderPlace(folder)
        self._left = files

    @property
    def name(self) -> str:
        return self._place.name

    @property
    def is_near(self) -> bool:
        return True

    def read(self, path: str, most: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise UnreachableError("it has gone")
        return self._place.read(path, most)


def test_wherever_a_sync_stops_the_state_is_whole(shelf: Shelf, home: Path, followed: Path) -> None:
    shelf.publisher("acme", "acme")
    shelf.publish(*[entry(f"a/m{n}") for n in range(300)])
    before = listed(followed, shelf)
    stops = 0
    while True:
        try:
            sync(home, "acme", Flaky(shelf.folder, stops), NOW)
        except OutlastError:
            assert listed(home, shelf) == before
            stops += 1
        else:
            break
    assert stops > 6
    assert len(listed(home, shelf)) == 301
