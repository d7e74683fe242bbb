"""Pickles are recognised wherever they are, nothing is loaded, nothing else is taken for one."""

import gzip
import io
import json
import pickle
import random
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.intake.content import Read
from outlast.intake.formats import packed_files
from outlast.intake.formats.unsafe import Unsafe, find_unsafe
from tests.intake.formats.canaries import array_of_values, canaries, tarred, zipped
from tests.intake.formats.disguised import SPRINGS, disguised


def look(path: str, data: bytes) -> Unsafe | None:
    return find_unsafe(path, len(data), reading(data))


def reading(data: bytes) -> Read:
    return lambda offset, length: data[offset : offset + length]


@pytest.mark.parametrize("name", canaries(Path("x")))
def test_a_canary_is_recognised_and_not_loaded(name: str, tmp_path: Path) -> None:
    place = tmp_path / "sprung"
    found = look(name, canaries(place)[name])
    assert found is not None
    assert str(found).isprintable()
    assert not place.exists()


@pytest.mark.parametrize("name", disguised(Path("x")))
def test_a_disguised_pickle_is_recognised(name: str, tmp_path: Path) -> None:
    place = tmp_path / "sprung"
    found = look(name, disguised(place)[name])
    assert found is not None
    assert str(found).isprintable()
    assert not place.exists()


@pytest.mark.parametrize("name", SPRINGS)
def test_what_is_another_format_too_does_load(name: str, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    place = tmp_path / "sprung"
    pickle.loads(disguised(place)[name])  # noqa: S301 - it makes a folder
    assert place.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("contiguous.tar", "other-type.tar", "behind-a-link.tar", "said-in-pax.tar"),
        *("signed-sum.tar", "wide-sum.tar"),
    ],
)
def test_a_reader_of_tar_finds_them(name: str, tmp_path: Path) -> None:
    data = disguised(tmp_path / "sprung")[name]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        read = [archive.extractfile(one) for one in archive if one.size and not one.issym()]
        assert any(file is not None and b"mkdir" in file.read() for file in read)


def test_it_says_where(tmp_path: Path) -> None:
    found = look("nested.zip", canaries(tmp_path / "sprung")["nested.zip"])
    assert found is not None
    assert found.inside.startswith("a/inner.zip/deep/weights.pt/archive/data.pkl")


HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
SAFE = {
    "model.safetensors": len(HEADER).to_bytes(8, "little") + HEADER + bytes(8),
    "a.safetensors": (640).to_bytes(8, "little") + b"{" + b" " * 639,
    "model.gguf": b"GGUF" + bytes(99),
    "config.json": b'{"a": 1}',
    "README.md": b"---\nlicense: mit\n---\nA model.\n",
    "LICENSE": b"Copyright (c) 2026. All rights reserved.\n",
    "vocab.txt": b"cat\ncar\ncan\n.\n",
    "merges.txt": b"#version: 0.2\ni n\nt h\n",
    "code.py": b"import os\n(os)\n.",
    "NOTICE": b"(c) Some Company.\n.",
    "raw.bin": bytes(range(256)) * 9,
    "zeros.bin": bytes(500),
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "numbers.npy": array_of_values(b"").replace(b"'|O'", b"'<f4'"),
    "numbers.npz": zipped({"x.npy": array_of_values(b"").replace(b"'|O'", b"'<f4'")}),
    "texts.zip": zipped({"a.txt": b"hello", "b/c.json": b"{}"}, zipfile.ZIP_DEFLATED),
    "texts.tar": tarred({"a.txt": b"hello", "b/c.json": b"{}"}),
    "texts.txt.gz": gzip.compress(b"hello " * 999),
    "empty.bin": b"",
}


@pytest.mark.parametrize("name", SAFE)
def test_what_is_no_pickle(name: str) -> None:
    assert look(name, SAFE[name]) is None


def test_random_weights_are_seldom_taken_for_pickles() -> None:
    choose = random.Random(3)
    taken = [look("pytorch_model.bin", choose.randbytes(4000)) for _ in range(3000)]
    assert sum(one is not None for one in taken) <= 30


def test_a_bomb_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_files, "_MEMBER", 1 << 20)
    monkeypatch.setattr(packed_files, "_TOTAL", 4 << 20)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"{number}.bin", bytes(2 << 20))
    bomb = gzip.compress(bytes(9 << 20))
    tracemalloc.start()
    try:
        assert look("bomb.zip", out.getvalue()) is not None
        assert look("bomb.gz", bomb) is None
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 12 << 20


@given(st.binary(max_size=400), st.sampled_from(("a.bin", "a.zip", "a.json", "a", "a.pt", "a.npy")))
def test_any_bytes_have_an_answer(data: bytes, name: str) -> None:
    look(name, data)


@given(st.data())
def test_a_damaged_archive_has_an_answer(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from((SAFE["texts.zip"], SAFE["texts.tar"], SAFE["numbers.npz"])))
    at = data.draw(st.integers(0, len(base) - 1))
    new = data.draw(st.binary(min_size=1, max_size=9))
    look("a.zip", base[:at] + new + base[at + len(new) :])


@given(st.text(max_size=300))
def test_text_is_no_pickle(text: str) -> None:
    assert look("notes.md", text.encode("utf-8", "replace")) is None
