"""How streams are cut into parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.bundle.geometry import (
    MAX_BLOCK,
    MAX_CODEWORD,
    Geometry,
    PartLayout,
    choose_layout,
)
from outlast.core.errors import MalformedError

_FAT32 = 3_900_000_000


@given(
    stream=st.integers(0, 1 << 20),
    block=st.sampled_from([4096, 8192]),
    rows=st.integers(1, 40),
    group=st.integers(1, 30),
    parity=st.integers(0, 5),
)
def test_every_block_has_one_place_and_every_part_one_group(
    stream: int, block: int, rows: int, group: int, parity: int
) -> None:
    cut = Geometry(PartLayout(block, rows, group, parity), stream)
    places = [cut.place(number * block) for number in range(cut.blocks)]
    assert len(set(places)) == cut.blocks
    assert [cut.offset(place) for place in places] == [n * block for n in range(cut.blocks)]
    assert sum(cut.rows_of(part) for part in range(cut.data_parts)) == cut.blocks
    members = [
        part
        for number in range(cut.groups)
        for part in (*cut.data_of(number), *cut.parity_of(number))
    ]
    assert sorted(members) == list(range(cut.parts))
    for number in range(cut.groups):
        assert {cut.group_of(part) for part in cut.data_of(number)} == {number}
        assert {cut.group_of(part) for part in cut.parity_of(number)} <= {number}


@given(
    stream=st.integers(0, 1 << 42),
    size=st.integers(1 << 21, 1 << 33),
    percent=st.floats(0, 40),
)
def test_a_chosen_layout_keeps_what_was_asked_for(stream: int, size: int, percent: float) -> None:
    if stream // size > 20_000:
        size *= 256  # five digits name the parts, of which the smallest have one block
    layout = choose_layout(stream, part_size=size, parity_percent=percent, least=20)
    cut = Geometry(layout, stream)
    assert all(cut.part_size(part) <= size for part in {0, cut.data_parts - 1, cut.parts - 1})
    assert layout.group + layout.parity <= MAX_CODEWORD
    if percent:
        lost = int((layout.group + layout.parity) * percent / 100)
        assert layout.parity >= lost, "that share of the parts may be lost"
        assert cut.data_parts >= min(20, -(-stream // layout.block))


def test_a_large_bundle_has_large_blocks_and_parts_that_fat32_takes() -> None:
    layout = choose_layout(10**12, part_size=_FAT32, parity_percent=10, least=20)
    cut = Geometry(layout, 10**12)
    assert layout.block == MAX_BLOCK
    assert cut.part_size(0) <= _FAT32
    assert cut.groups == 2, "257 data parts and their parity are too many for one group"
    assert layout.parity == 15


@pytest.mark.parametrize("stream", [1_100_000, 15_000_000, 76_000_001, 300_000_000])
def test_filling_up_costs_less_than_a_hundredth(stream: int) -> None:
    layout = choose_layout(stream, part_size=_FAT32, parity_percent=0, least=20)
    contents = 1  # byte: the rest of a block is zeros then
    cut = Geometry(layout, layout.block + stream - contents)
    files = sum(map(cut.part_size, range(cut.parts)))
    assert files <= 1.01 * stream


def test_a_small_bundle_with_parity_has_twenty_parts() -> None:
    layout = choose_layout(3_000_000, part_size=_FAT32, parity_percent=10, least=20)
    assert Geometry(layout, 3_000_000).data_parts >= 20
    assert choose_layout(3_000_000, part_size=_FAT32, parity_percent=0, least=20).parity == 0


@pytest.mark.parametrize(
    ("block", "rows", "group", "parity"),
    [(5000, 1, 1, 0), (2048, 1, 1, 0), (1 << 21, 1, 1, 0), (4096, 0, 1, 0), (4096, 1, 200, 56)],
)
def test_impossible_layouts_are_refused(block: int, rows: int, group: int, parity: int) -> None:
    with pytest.raises(MalformedError):
        PartLayout(block, rows, group, parity)


def test_parts_too_small_or_too_much_parity_are_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        choose_layout(1 << 30, part_size=1000, parity_percent=0, least=20)
