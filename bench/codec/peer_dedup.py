"""How much of some files each way of deduplication finds in a base, in percent of their bytes."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hf_xet
import pyfastcdc

from tests.realweights import read_safetensors

_TARGET = 64 * 1024
Pieces = Iterator[bytes]


def found(base: str, files: list[str]) -> dict[str, float]:
    """By whole files, by tensors, by chunks of 64 KiB (FastCDC), and by hf_xet itself."""
    paths = [Path(file) for file in files]
    ways: dict[str, Callable[[Path], Pieces]] = {
        "whole file": _whole,
        "tensors": _tensors,
        "CDC 64 KiB": _chunks,
    }
    shares = {name: _share(way, Path(base), paths) for name, way in ways.items()}
    return shares | {"hf_xet": _xet(Path(base), paths)}


def _share(pieces: Callable[[Path], Pieces], base: Path, files: list[Path]) -> float:
    known = {hashlib.sha256(piece).digest() for piece in pieces(base)}
    seen = 0
    for file in files:
        for piece in pieces(file):
            seen += len(piece) if hashlib.sha256(piece).digest() in known else 0
    return 100 * seen / sum(file.stat().st_size for file in files)


def _whole(path: Path) -> Pieces:
    yield path.read_bytes()


def _tensors(path: Path) -> Pieces:
    for tensor in read_safetensors(path).values():
        yield tensor.data


def _chunks(path: Path) -> Pieces:
    blob = path.read_bytes()
    for chunk in pyfastcdc.FastCDC(avg_size=_TARGET).cut_buf(blob):
        yield blob[chunk.offset : chunk.offset + chunk.length]


def _xet(base: Path, files: list[Path]) -> float:
    """What it reports of an upload to a store in a folder, after the base was uploaded there."""
    with tempfile.TemporaryDirectory(prefix="outlast-bench-") as folder:
        os.environ["HF_HOME"] = folder
        _upload(folder, [base])
        report = _upload(folder, files)
    return float(100 * report.deduped_bytes / report.total_bytes)


def _upload(folder: str, files: list[Path]) -> Any:
    commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{folder}")
    for file in files:
        commit.start_upload_file(str(file))
    return commit.wait_to_finish().dedup_metrics
