"""The documents of a bundle: read as written, and refused where anything is not as it should be."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.bundle.contents import BundleContents
from outlast.codec.bundle.documents import ArchiveInventory, BundleFile, PartSum
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from tests.codec.bundle.bundles import BLOB, MANIFEST, small_contents


def test_contents_are_read_as_they_were_written() -> None:
    contents = small_contents()
    assert BundleContents.from_bytes(contents.encoded) == contents
    assert contents.id == Digest.of(contents.encoded)
    assert contents.geometry.stream == contents.base + 50_500


def test_a_bundle_file_is_read_as_it_was_written() -> None:
    contents = small_contents()
    parts = (PartSum(0, contents.geometry.part_size(0), BLOB),)
    file = BundleFile(contents, "2026-11-30T00:00:00+00:00", parts)
    assert BundleFile.from_bytes(file.to_bytes()) == file


def test_one_changed_byte_of_a_bundle_file_is_noticed() -> None:
    data = BundleFile(small_contents(), "2026-11-30T00:00:00+00:00", ()).to_bytes()
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(OutlastError):
            BundleFile.from_bytes(bytes(changed))


def test_an_inventory_is_read_as_it_was_written() -> None:
    inventory = ArchiveInventory(frozenset([BLOB, MANIFEST]), frozenset())
    assert ArchiveInventory.from_bytes(inventory.to_bytes()) == inventory
    assert json.loads(inventory.to_bytes())["check"] == inventory.check.hex
    with pytest.raises(OutlastError, match="check"):
        ArchiveInventory.from_bytes(inventory.to_bytes().replace(BLOB.hex.encode(), b"0" * 64))


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Puts the last of `path` where the others lead."""

    def change(document: dict[str, Any]) -> None:
        *way, key, value = path
        place: Any = document
        for step in way:
            place = place[step]
        place[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("type", "outlast-bundle-v2"),
        _set("type", "else"),
        _set("extra", 1),
        _set("sequence", 5),
        _set("sequence", True),
        _set("since", None),
        _set("since", {"inventory": "0" * 64, "sequence": 3}),
        _set("layout", "block", 4097),
        _set("layout", "rows", 10**9),
        _set("models", 0, "name", "../../etc/passwd"),
        _set("models", 0, "gated", 1),
        _set("models", 0, "tags", ["x" * 5000]),
        _set("models", 0, "tags", ["\ud800"]),
        _set("models", 0, "manifests", ["0" * 64]),
        _set("models", 0, "refs", 0, "name", "-rf"),
        _set("models", 0, "refs", 0, "observed", "yesterday"),
        _set("models", 0, "refs", 0, "kind", "a"),
        _set("records", 0, "path", "../bundle.json"),
        _set("records", 0, "path", "attestations/../../x"),
        _set("records", 0, "path", "/etc/passwd"),
        _set("records", 0, "offset", 1),
        _set("records", 0, "size", -1),
        _set("payloads", 0, "offset", 499),
        _set("payloads", 0, "length", 9_999),
        _set("payloads", 0, "form", "thin"),
        _set("payloads", 0, "size", 1 << 60),
        _set("payloads", 1, "bases", ["1" * 64]),
        _set("payloads", 1, "blob", BLOB.hex),
        _set("assumed", "blobs", ["f" * 64, "0" * 64]),
        _set("payloads", 0, "size", 10_000.0),
    ],
)
def test_contents_with_something_wrong_are_refused(
    change: Callable[[dict[str, Any]], None],
) -> None:
    document = small_contents().to_json()
    change(document)
    with pytest.raises(OutlastError):
        BundleContents.from_bytes(json.dumps(document).encode())
    with pytest.raises(OutlastError):
        BundleContents.from_json(document)


def test_contents_in_another_order_are_refused() -> None:
    contents = small_contents()
    with pytest.raises(OutlastError, match="canonical"):
        BundleContents.from_bytes(contents.encoded + b" ")
    document = contents.to_json()
    document["models"] *= 2
    with pytest.raises(OutlastError, match="order"):
        BundleContents.from_bytes(rfc8785.dumps(document))


def test_a_base_comes_before_what_depends_on_it() -> None:
    contents = small_contents()
    late = replace(contents.payloads[1], offset=500)
    first = replace(contents.payloads[0], offset=40_500)
    swapped = replace(late, bases=(first.blob,))
    with pytest.raises(OutlastError, match="depends"):
        replace(contents, payloads=(swapped, first))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(small_contents().to_json())), value=_JSON)
def test_whatever_stands_in_contents_is_read_or_refused(key: str, value: object) -> None:
    with contextlib.suppress(OutlastError):
        BundleContents.from_bytes(json.dumps({**small_contents().to_json(), key: value}).encode())


@given(st.binary(max_size=200))
def test_what_is_no_document_is_refused(data: bytes) -> None:
    for read in (BundleContents.from_bytes, BundleFile.from_bytes, ArchiveInventory.from_bytes):
        with pytest.raises(OutlastError):
            read(data)
