"""Blocks against the `gguf` package: every type that is read or made here."""

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from outlast.codec.claims import BLOCKS
from outlast.features.lineage.dequant import DECODED, ENCODED, decode, encode

_OF_GGUF = sorted(set(DECODED) & {one.name for one in GGMLQuantizationType} - {"F64", "I8"})


@pytest.mark.parametrize("dtype", _OF_GGUF)
def test_every_block_is_read_as_gguf_reads_it(dtype: str) -> None:
    random = np.random.default_rng(5)
    raw = random.integers(0, 256, (400, BLOCKS[dtype][1]), dtype=np.uint8)
    with np.errstate(all="ignore"):
        theirs = dequantize(raw.reshape(-1), GGMLQuantizationType[dtype])
    np.testing.assert_array_equal(decode(dtype, raw.tobytes()), theirs.reshape(-1))


@pytest.mark.parametrize("dtype", sorted(ENCODED))
def test_blocks_are_made_as_gguf_makes_them(dtype: str) -> None:
    random = np.random.default_rng(6)
    values = (random.normal(size=(300, 256)) * 0.05).astype(np.float32)
    values[7] = 0
    theirs = quantize(values, GGMLQuantizationType[dtype])
    ours = encode(dtype, values.reshape(-1))
    np.testing.assert_array_equal(ours.reshape(-1), theirs.view(np.uint8).reshape(-1))


def test_float8() -> None:
    assert decode("F8_E4M3", bytes([0x38, 0xB8, 0x7E, 0x01, 0x00])).tolist() == [
        1.0,
        -1.0,
        448.0,
        2.0**-9,
        0.0,
    ]
    assert np.isnan(decode("F8_E4M3", b"\x7f"))[0]
    assert decode("F8_E5M2", bytes([0x3C, 0xC0])).tolist() == [1.0, -2.0]
