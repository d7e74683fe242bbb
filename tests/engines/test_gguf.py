"""A GGUF header is believed only within bounds: bad files are errors, never crashes or hangs."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlast.codec.gguf import MAGIC
from outlast.core.errors import EngineError
from outlast.engines.gguf import MAX_TEMPLATE_BYTES, read_header
from tests.engines.gguf_files import pair, small_gguf, strings, text, u16

VALUES = {
    "llama.context_length": 4096,
    "llama.pooling_type": 1,
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.ggml.tokens": strings("a", "bc", ""),
    "split.count": u16(3),
    "split.no": u16(1),
}


def write(folder: Path, data: bytes) -> str:
    path = folder / "0123456789abcdef"
    path.write_bytes(data)
    return str(path)


def test_header(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, small_gguf(VALUES)))
    assert (header.architecture, header.version, header.tensors) == ("llama", 3, 1)
    assert (header.context_length, header.pooling) == (4096, 1)
    assert (header.shards, header.shard) == (3, 1)
    assert header.template


def test_header_without_the_optional_things(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, small_gguf(version=2)))
    assert header.version == 2
    assert (header.context_length, header.pooling) == (None, None)
    assert (header.shards, header.shard) == (1, 0)
    assert not header.template


def huge_count(position: int) -> bytes:
    data = bytearray(small_gguf())
    data[position : position + 8] = b"\xff" * 8
    return bytes(data)


def with_tensor(description: bytes) -> bytes:
    head = MAGIC + struct.pack("<IQQ", 3, 1, 1) + pair("general.architecture", "llama")
    return head + description + b"\0" * 64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a GGUF"),
        (b"GG", "not a GGUF"),
        (b"GGML" + b"\0" * 100, "not a GGUF"),
        (small_gguf()[:8], "cut short"),
        (small_gguf(version=1), "version 1"),
        (small_gguf(version=4), "version 4"),
        (MAGIC + struct.pack(">I", 3) + b"\0" * 16, "version 50331648"),
        (huge_count(8), "cut short"),
        (huge_count(16), "cut short"),
        (huge_count(24), "cut short"),
        (small_gguf()[:-1], "cut short: its tensors end at byte"),
        (small_gguf({"general.alignment": 0}), "alignment"),
        (small_gguf({"general.alignment": 1 << 30}), "alignment"),
        (small_gguf({"a" * 70_000: 1}), "exceeds the bound"),
        (small_gguf({"x": struct.pack("<IB", 77, 0)}), "value type 77"),
        (small_gguf({"x": struct.pack("<IIQ", 9, 9, 1)}), "cut short"),
        (small_gguf({"x": struct.pack("<IIQ", 9, 9, 65_537)}), "too deep in each other"),
        (small_gguf({"x": struct.pack("<IIQ", 9, 8, 1 << 60)}), "cut short"),
        (small_gguf({"x": struct.pack("<IIQ", 9, 12, 1 << 61)}), "cut short"),
        (small_gguf({"general.architecture": ""}), "architecture"),
        (
            small_gguf({"tokenizer.chat_template": "x" * (MAX_TEMPLATE_BYTES + 1)}),
            "exceeds the bound",
        ),
        (with_tensor(text("w") + struct.pack("<I", 5) + b"\0" * 52), "5 dimensions"),
        (with_tensor(text("w") + struct.pack("<IQQIQ", 2, 1 << 63, 1 << 63, 0, 0)), "cut short"),
        (with_tensor(text("w") + struct.pack("<IQIQ", 1, 8, 99, 1 << 63)), "cut short"),
    ],
)
def test_bad_files(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        read_header(write(tmp_path, data))
    assert caught.value.hint


def test_a_tensor_type_from_the_future_is_left_to_the_engine(tmp_path: Path) -> None:
    data = with_tensor(text("w") + struct.pack("<IQIQ", 1, 1 << 40, 99, 0))
    assert read_header(write(tmp_path, data)).tensors == 1


def test_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No such file"):
        read_header(str(tmp_path / "none"))
    with pytest.raises(EngineError, match="not a regular file"):
        read_header(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EngineError, match="not a regular file"):
        read_header(str(tmp_path / "pipe"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, 400),
    changes=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=8),
)
def test_damage_is_an_error_or_harmless(
    tmp_path: Path, cut: int, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(small_gguf(VALUES))
    for position, value in changes:
        data[position % len(data)] = value
    path = write(tmp_path, bytes(data[: max(0, len(data) - cut)]))
    try:
        header = read_header(path)
    except EngineError:
        return
    assert header.shards >= 1
    assert header.architecture or header.shard
