"""How a blob is cut into spans, where that is not one span a tensor."""

from collections.abc import Callable

import pytest

from outlast.codec import format as fmt
from outlast.codec import layout
from outlast.codec.format import CapsuleSpan
from outlast.codec.layout import BaseTensors, spans
from outlast.codec.tensors import Container, Tensor
from outlast.codec.writer import pays
from tests.codec import files, reference
from tests.codec.golden_bytes import filled


def container(lengths: list[int], dtype: str = "F32", gap: int = 0) -> tuple[Container, int]:
    """Tensors of these bytes, `gap` bytes apart, behind a header of 100; and the blob's size."""
    found, at = [], 100
    for number, length in enumerate(lengths):
        found.append(Tensor(str(number), dtype, (length // 4,), at, length))
        at += length + gap
    return Container("safetensors", tuple(found)), at - gap


def cut(lengths: list[int], dtype: str = "F32", gap: int = 0) -> list[CapsuleSpan]:
    return spans(*container(lengths, dtype, gap))


def test_a_crowd_of_tiny_tensors_is_bytes() -> None:
    assert cut([4] * 1024) == [CapsuleSpan(fmt.BYTES, 100 + 4 * 1024)]
    assert cut([1020] * 1024) == [CapsuleSpan(fmt.BYTES, 100 + 1020 * 1024)]


def test_a_crowd_of_small_tensors_is_one_span() -> None:
    assert cut([1024] * 1024)[1:] == [CapsuleSpan(fmt.F32, 1024 * 1024)]
    mixed = cut([1024] * 700 + [65_532] + [65_536] + [1024] * 700)[1:]
    assert [span.length for span in mixed] == [700 * 1024 + 65_532, 65_536, 700 * 1024]


def test_gaps_and_kinds_part_spans() -> None:
    apart = cut([1024] * 1024, gap=8)
    assert len(apart) == 2 * 1024
    assert {span.kind for span in apart} == {fmt.BYTES, fmt.F32}
    other = Tensor("other", "F64", (256,), 100 + 1024 * 1024, 2048)
    found, size = container([1024] * 1024)
    both = spans(Container(found.kind, (*found.tensors, other)), size + 2048)
    assert both[1:] == [CapsuleSpan(fmt.F32, 1024 * 1024), CapsuleSpan(fmt.WORDS64, 2048)]


@pytest.mark.parametrize(
    ("crowded", "lengths"),
    [
        (True, [1024] * 1024),
        (False, [1024] * 1023),
        (True, [4092] * 2048),
        (False, [4096] * 2048),
    ],
)
def test_only_crowds_are_joined(crowded: bool, lengths: list[int]) -> None:
    assert (len(cut(lengths)) == 2) == crowded


def test_with_a_base_what_follows_there_too_is_joined() -> None:
    fine, size = container([1024] * 1024)
    base, base_size = container([1024] * 1024)
    bases = BaseTensors([base], [base_size])
    assert spans(fine, size, bases)[1:] == [CapsuleSpan(fmt.F32, 1024 * 1024, 1, 100)]
    apart, apart_size = container([1024] * 1024, gap=8)
    parted = spans(fine, size, BaseTensors([apart], [apart_size]))[1:]
    assert len(parted) == 1024
    assert parted[1] == CapsuleSpan(fmt.F32, 1024, 1, 100 + 1032)


def test_a_tiny_tensor_keeps_its_base() -> None:
    fine, size = container([8] * 1024)
    base, base_size = container([8] * 1024)
    assert spans(fine, size, BaseTensors([base], [base_size]))[1:] == [
        CapsuleSpan(fmt.F32, 8 * 1024, 1, 100)
    ]


def scattered(count: int, make: Callable[[int], tuple[str, tuple[int, ...], bytes]]) -> bytes:
    return files.of_safetensors({f"layers.{i}.scale": make(i) for i in range(count)})


def test_a_crowd_pays() -> None:
    raw = filled("F32", (layout.CROWD, 4), 1)
    blob = scattered(layout.CROWD, lambda i: ("F32", (4,), raw[16 * i : 16 * i + 16]))
    capsule = files.encode(blob, [])
    assert pays(len(capsule), len(blob))
    assert files.read(files.reader(capsule, []), 0, len(blob)) == blob
    assert reference.decode(capsule, {}) == blob
