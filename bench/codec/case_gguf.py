"""Quantised weights in GGUF."""

from collections.abc import Callable
from pathlib import Path

from bench.codec.lab import DECODE, ENCODE, Blob, Lab, speed_row, value_row, weights
from bench.rows import Row, Target
from tests import realweights

_PEERS = ("lmz", "zstd -3", "zstd -9")


def gguf(lab: Lab) -> list[Row]:
    """Gemma 3 270M in K-quants, SmolLM2 135M in Q4_1."""
    gemma = Target("≥", 7.5, absolute=True)
    return [
        *_rows(lab, "GGUF Gemma-270M Q4_K_M", realweights.gemma_gguf, gemma),
        *_rows(lab, "GGUF SmolLM2-135M Q4_1", realweights.smollm2_gguf, None),
    ]


def _rows(lab: Lab, title: str, get: Callable[[], Path], target: Target | None) -> list[Row]:
    figures = lab.measure(Blob(title, weights(get), "gguf"), _PEERS)
    saved, path = figures.saved(), lab.paths[0]
    ours = saved.pop(path)
    return [
        value_row(f"{title} saved", "%", ours, saved, target, note=figures.note()),
        *(
            speed_row(f"{title} {direction}, {path}", figures.speeds[direction], path, "lmz", None)
            for direction in (DECODE, ENCODE)
        ),
    ]
