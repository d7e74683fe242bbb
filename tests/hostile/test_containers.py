"""Every file of the corpus is opaque to the codec, but for those that have a part which it passes
over: no error, no hang, no memory.

A file that once broke something goes into the folder of its kind; nothing else is to be done.
"""

import tracemalloc
from pathlib import Path

import pytest

from outlast.codec.cursor import WINDOW_BYTES
from outlast.codec.tensors import parse
from outlast.core.errors import EngineError
from outlast.engines.gguf import read_header
from tests.codec.container_files import Blob, array, entry, gguf, parsed, safetensors
from tests.store.build import check_error

CORPUS = Path(__file__).parent / "containers"
CASES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))
PASSED_OVER = {
    "gguf/array-nested": ["a"],
    "gguf/array-nested-empty": ["a"],
    "gguf/type-huge": [],
    "gguf/type-removed-31": [],
    "gguf/type-removed-4": [],
    "gguf/type-unknown": [],
    "gguf/type-unknown-empty": [],
}
"""What was opaque once: the tensors that are found beside arrays in arrays and unknown types."""
KIB = 1024


def peak(data: bytes, size: int | None = None) -> int:
    """Bytes that it takes to read the header of `data`, said to be `size` bytes."""
    tracemalloc.start()
    try:
        parse(Blob(data).read, len(data) if size is None else size)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", CASES)
def test_it_is_opaque(case: str) -> None:
    data = (CORPUS / case).read_bytes()
    container = parsed(data)
    names = None if container is None else [tensor.name for tensor in container.tensors]
    assert names == PASSED_OVER.get(case)
    assert peak(data) < 64 * KIB


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("gguf/")])
def test_engines_take_it_or_say_why_not(case: str) -> None:
    try:
        read_header(str(CORPUS / case))
    except EngineError as error:
        check_error(error)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", [0, 8, 9, 12])
def test_a_terabyte_of_elements_takes_nothing(kind: int) -> None:
    """Not even where the file's size leaves room for them."""
    data = gguf([("x", array(kind, 1 << 40))])
    assert len(data) < 100
    for size in (len(data), 1 << 30, 1 << 60):
        assert peak(data, size) < 64 * KIB


@pytest.mark.timeout(20)
def test_a_header_that_is_not_there_takes_nothing() -> None:
    data = (99_000_000).to_bytes(8, "little") + b'{"a"'
    assert peak(data, 1 << 40) < 64 * KIB
    assert peak(gguf(counts=(1_000_000, 65_536)), 1 << 40) < 64 * KIB


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "inside",
    [
        b"[" * 1_000_000,
        b"[]," * 300_000,
        b'{"a":' * 200_000,
        b"1," * 500_000,
        b"9" * 1_000_000,
        b'"' + b"\\n" * 500_000,
        b'"' + b"\\n" * 500_000 + b'",',
        b" " * 1_000_000,
    ],
)
def test_memory_is_a_small_multiple_of_the_header(inside: bytes) -> None:
    for start in (b'{"a":', b'{"a":{"shape":[', b'{"a":{"dtype":', b'{"__metadata__":{"a":', b"{"):
        assert peak(safetensors(start + inside)) < 6 * len(inside) + WINDOW_BYTES


@pytest.mark.timeout(60)
def test_too_many() -> None:
    pairs = ",".join(f'"{number}":""' for number in range(65_537))
    assert peak(safetensors('{"__metadata__":{' + pairs + "}}")) < 16 * len(pairs)
    fewer = pairs.rpartition(",")[0]
    assert parsed(safetensors('{"__metadata__":{' + fewer + "}}")) is not None


def test_every_kind_has_cases() -> None:
    assert {case.partition("/")[0] for case in CASES} == {"safetensors", "gguf"}
    assert len(CASES) > 150
    # What makes them opaque is in them, and not in how they are made.
    assert parsed(safetensors({"a": entry("U8", [4], 0, 4)}, b"\0" * 4)) is not None
