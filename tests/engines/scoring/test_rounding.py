"""Weights in fewer bits."""

import numpy as np
import pytest

from outlast.engines.scoring.rounding import ROUNDINGS, round_fp8, round_int4, round_int8


def test_levels() -> None:
    rows = np.array([[-1.0, 0.55, 0.006, 0.0]], dtype=np.float32)
    assert round_int8(rows)[0].tolist() == pytest.approx([-1.0, 70 / 127, 1 / 127, 0])
    assert round_int4(rows)[0].tolist() == pytest.approx([-1.0, 4 / 7, 0, 0])
    wide = np.zeros((1, 64), dtype=np.float32)
    wide[0, 0], wide[0, 32] = 100, 1
    assert round_int4(wide).tolist() == wide.tolist()  # each block has a scale of its own


def test_fp8_is_e4m3() -> None:
    values = [448.0, 240.0, 17.0, 1.0625, 2**-9, 2**-11]
    rows = np.array([values], dtype=np.float32)
    assert round_fp8(rows)[0].tolist() == [448, 240, 16, 1, 2**-9, 0]


@pytest.mark.parametrize("name", ROUNDINGS)
def test_rounding_again_changes_nothing(name: str) -> None:
    rows = np.random.default_rng(0).normal(size=(4, 96)).astype(np.float32)
    rows[3] = 0
    once = ROUNDINGS[name](rows)
    assert once.dtype == np.float32
    assert np.allclose(ROUNDINGS[name](once), once, rtol=1e-6, atol=0)
    assert 0 < np.abs(once - rows).max() < 0.5


def test_errors_grow_with_fewer_bits() -> None:
    rows = np.random.default_rng(1).normal(size=(8, 256)).astype(np.float32)
    errors = [float(np.square(ROUNDINGS[n](rows) - rows).mean()) for n in ("int8", "fp8", "int4")]
    assert errors == sorted(errors)
