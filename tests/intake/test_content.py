"""Files that are not what their names say: told by name, head and tail, in bounded work."""

import io
import json
import os
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.control import Control
from outlast.core.events import Event, Note
from outlast.intake import shards
from outlast.intake.content import Flaw, Suspect, judge
from outlast.intake.suspects import warn
from tests.codec.container_files import Blob, entry, gguf, safetensors, tensor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 123\n"
GOOD = safetensors({"a": entry("F32", [4], 0, 16)}, bytes(16))
GOOD_GGUF = gguf([], [tensor("a", [4], 0, 0)], bytes(16))


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(500))
    return file.getvalue()


ZIP = _zipped()
PARQUET = b"PAR1" + bytes(100) + b"PAR1"


def flaw(path: str, data: bytes) -> Flaw | None:
    found = judge(path, len(data), Blob(data).read)
    if found is None:
        return None
    assert found.path == path
    assert found.reason.isprintable()
    return found.flaw


@pytest.mark.parametrize(
    ("path", "data", "wanted"),
    [
        ("model.safetensors", POINTER, Flaw.POINTER),
        ("a/b/tokenizer.json", POINTER, Flaw.POINTER),
        ("data/x.parquet", POINTER, Flaw.POINTER),
        ("no-ending", b"version https://hawser.github.com/spec/v1\n", Flaw.POINTER),
        ("model.safetensors", b"<!DOCTYPE html><html>" + bytes(2000), Flaw.PAGE),
        ("model.GGUF", b"\xef\xbb\xbf \r\n<HTML lang=en>", Flaw.PAGE),
        ("pytorch_model.bin", b'<?xml version="1.0"?><Error><Code>x</Code></Error>', Flaw.PAGE),
        ("model.onnx", b"<Error><Code>NoSuchKey</Code></Error>", Flaw.PAGE),
        ("model.safetensors", b'{"error": "Access to model x is restricted"}', Flaw.PAGE),
        ("model.pt", b'[{"error": "none"}]', Flaw.PAGE),
        ("model.bin", json.dumps({"error": "é" * 2000}).encode(), Flaw.PAGE),
        ("model.safetensors", b"Entry not found", Flaw.PAGE),
        ("model.bin", b"Invalid username or password.\n", Flaw.PAGE),
        ("model.safetensors", b"", Flaw.EMPTY),
        ("x.Q4_K_M.gguf", b"", Flaw.EMPTY),
        ("pytorch_model.bin", b"", Flaw.EMPTY),
        ("model.onnx", b"", Flaw.EMPTY),
        ("data/train.parquet", b"", Flaw.EMPTY),
        ("model.safetensors", GOOD[:7], Flaw.TRUNCATED),
        ("model.safetensors", GOOD[:20], Flaw.TRUNCATED),
        ("model.safetensors", GOOD[:-1], Flaw.TRUNCATED),
        ("model.safetensors", struct.pack("<Q", 1 << 62) + b"{}" + bytes(100), Flaw.TRUNCATED),
        ("model.safetensors", struct.pack("<Q", 2) + b"[]" + bytes(100), Flaw.HEADER),
        ("model.safetensors", safetensors(b'{"a": 1}'), Flaw.HEADER),
        ("model.gguf", GOOD_GGUF[:-1], Flaw.TRUNCATED),
        ("model.gguf", GOOD_GGUF[:10], Flaw.TRUNCATED),
        ("model.gguf", gguf(counts=(1 << 60, 0)), Flaw.TRUNCATED),
        ("model.gguf", GOOD, Flaw.HEADER),
        ("pytorch_model.bin", ZIP[:-30], Flaw.TRUNCATED),
        ("data.zip", ZIP[100:], Flaw.HEADER),
        ("x.parquet", PARQUET[:-1], Flaw.TRUNCATED),
        ("x.parquet", GOOD, Flaw.HEADER),
    ],
)
def test_what_is_wrong(path: str, data: bytes, wanted: Flaw) -> None:
    assert flaw(path, data) is wanted


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("model.safetensors", GOOD),
        ("model.safetensors", safetensors("{}")),
        ("model.safetensors", GOOD + b"more"),
        ("model.gguf", GOOD_GGUF),
        ("model.gguf", gguf()),
        ("model.gguf", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)),  # of the other byte order
        ("model.gguf", gguf(version=1)),
        ("pytorch_model.bin", ZIP),
        ("pytorch_model.bin", ZIP + b"comment"),
        ("pytorch_model.bin", b"\x80\x02" + bytes(100)),
        ("weights.bin", bytes(range(256)) * 40),
        ("x.bin", b"x"),
        ("x.npy", b"\x93NUMPY" + bytes(100)),
        ("x.parquet", PARQUET),
        ("empty.txt", b""),
        ("__init__.py", b""),
        ("config.json", b'{"error": 1}'),
        ("index.html", b"<!doctype html>"),
        ("README.md", b"Entry not found"),
        ("notes.md", POINTER + bytes(1000)),
        ("safetensors", b""),
    ],
)
def test_what_is_not(path: str, data: bytes) -> None:
    assert flaw(path, data) is None


def test_a_reason_says_what_was_found() -> None:
    found = judge("m.safetensors", 15, Blob(b"Entry not found").read)
    assert found is not None
    assert found.reason == 'a text of 15 bytes: "Entry not found"'
    cut = judge("m.safetensors", len(GOOD) - 1, Blob(GOOD[:-1]).read)
    assert cut is not None
    assert f"end at byte {len(GOOD)}, the file ends at {len(GOOD) - 1}" in cut.reason


@pytest.mark.parametrize("path", ["m.safetensors", "m.gguf", "m.bin", "m.zip", "m.parquet", "m.x"])
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", GOOD, GOOD_GGUF, ZIP, b"PAR1"]))
def test_any_bytes_are_judged(path: str, data: bytes, start: bytes) -> None:
    flaw(path, start + data)
    flaw(path, start[: len(data)] + data)


@pytest.mark.parametrize("path", ["m.safetensors", "m.gguf", "m.bin", "m.parquet", "m.txt"])
def test_little_of_a_large_file_is_read(path: str) -> None:
    size = 1 << 40
    asked = 0
    head = {"m.gguf": GOOD_GGUF, "m.safetensors": GOOD}.get(path, b"PK\x03\x04")

    def read(offset: int, length: int) -> bytes:
        nonlocal asked
        asked += length
        return (head[offset:] + bytes(length))[:length]

    judge(path, size, read)
    assert asked < 1 << 20


def test_a_header_of_a_hundred_megabytes_is_not_read() -> None:
    def read(offset: int, length: int) -> bytes:
        assert length <= 1024
        head = struct.pack("<Q", 90_000_000) + b"{"
        return head[offset:].ljust(length)

    assert judge("m.safetensors", 1 << 40, read) is None


def incomplete(*here: str, left_out: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    found = list(shards.incomplete(here, {*here, *left_out}))
    assert all(suspect.flaw is Flaw.SHARD for suspect in found)
    return [(suspect.path, suspect.reason) for suspect in found]


def names(stem: str, count: int, ending: str, *, first: int = 1) -> list[str]:
    return [f"{stem}-{n:05}-of-{count:05}{ending}" for n in range(first, first + count)]


@pytest.mark.parametrize(
    ("stem", "ending", "first"),
    [
        ("a/model", ".safetensors", 1),
        ("x", ".gguf", 1),
        ("data/train", ".parquet", 0),
        ("t", "", 0),
    ],
)
def test_a_set_that_lacks_a_shard(stem: str, ending: str, first: int) -> None:
    whole = names(stem, 3, ending, first=first)
    assert incomplete(*whole) == []
    for absent in whole:
        rest = [name for name in whole if name != absent]
        assert incomplete(*rest) == [(rest[0], f"1 of 3 shards is missing: {absent}")]
        assert incomplete(*rest, left_out=(absent,)) == []


def test_sets_are_told_apart() -> None:
    whole = names("model", 2, ".safetensors")
    other = names("model", 3, ".safetensors")[:1]
    (found,) = incomplete(*whole, *other, "model-00001-of-2.safetensors", "a-00001-of-00001.bin")
    assert found[0] == other[0]
    assert "2 of 3 shards are missing" in found[1]


def test_a_hostile_count_costs_nothing() -> None:
    hostile = [f"{n}-00001-of-99999.safetensors" for n in range(2000)]
    found = incomplete(*hostile)
    assert len(found) == 2000
    assert all(reason.endswith("and 99995 more") for _, reason in found)
    assert max(len(reason) for _, reason in found) < 400
    assert incomplete("a-00000-of-00000.bin", "b-\u0660\u0660\u0660\u0660\u0661-of-00002.bin") == []


def index(shard: object, path: str = "sub/model.safetensors.index.json", **more: object) -> str:
    data = json.dumps({"weight_map": {"a": "model-00001.safetensors", "b": shard}, **more}).encode()
    found = shards.judge_index(path, data, {f"{os.path.dirname(path)}/model-00001.safetensors"})
    return "" if found is None else found.reason


def test_an_index_that_names_what_is_not_there() -> None:
    assert index("model-00001.safetensors") == ""
    assert "1 of the 2 files that it names is missing: x.bin" in index("x.bin")
    assert "missing" in index("../model-00001.safetensors")
    assert "\n" not in index("a\nb" * 1000)
    assert len(index("a\nb" * 1000)) < 400
    assert index(["no", "text"]) == ""


@pytest.mark.parametrize("data", [b"", b"{", b"<html>", b'{"a":1,"a":2}', b"[" * 900])
def test_an_index_that_is_none(data: bytes) -> None:
    found = shards.judge_index("x.index.json", data, set())
    assert found is not None
    assert found.flaw is Flaw.INDEX


@pytest.mark.parametrize("data", [b"[" * 100_000, b"{" * 100_000, b'"a":' * 600_000])
def test_an_index_that_would_take_much_memory_is_not_parsed(data: bytes) -> None:
    assert shards.judge_index("x.index.json", data, set()) is None


def test_a_long_list_of_warnings_ends() -> None:
    heard: list[Event] = []
    many = [Suspect(f"{n}.bin", Flaw.EMPTY, "empty") for n in range(100_000)]
    warn(Control(heard.append), many, "org/m: ")
    *some, last = heard
    assert len(some) <= 100
    assert last == Note(f"org/m: {100_000 - len(some)} more files are not what their names say")


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"weight_map": 1}', b"null", b"1"])
def test_an_index_of_something_else(data: bytes) -> None:
    assert shards.judge_index("x.index.json", data, set()) is None
