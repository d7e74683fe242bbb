"""Scores that were computed, as files: a second audit of the same texts computes nothing.

A file is named by the sha256 of the question: which weights, which engine, which change, which
tokens. Losing one costs time alone.
"""

import hashlib
import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import rfc8785

from outlast.engines.scoring.base import ScoredPosition, TextToken
from outlast.store import disk

FOLDER: Final = "audit/scores"
"""Below the archive's folder."""
MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a file. Guess: 2,000 tokens with the 1,024 likeliest of each take 60 MB."""


class _Position(msgspec.Struct, array_like=True):
    token: int
    ids: bytes
    logprobs: bytes
    pieces: list[bytes]


_positions = msgspec.msgpack.Decoder(list[_Position])
_tokens = msgspec.msgpack.Decoder(list[tuple[int, bytes]])


class ScoreCache:
    """The scores of an archive. `root` is the archive's folder; None: nothing is kept."""

    def __init__(self, root: Path | None) -> None:
        self._root = None if root is None else root / FOLDER

    def positions(self, question: Mapping[str, Any]) -> list[ScoredPosition] | None:
        """What was kept for a question; None where nothing was, or it is damaged."""
        data = self._read(question)
        try:
            found = None if data is None else _positions.decode(data)
            return None if found is None else [_unpacked(one) for one in found]
        except (msgspec.DecodeError, ValueError):
            return None

    def keep_positions(self, question: Mapping[str, Any], found: Sequence[ScoredPosition]) -> None:
        """Keeps the answer to a question. Raises :class:`~outlast.core.errors.StorageError`."""
        rows = [
            _Position(one.token, one.ids.tobytes(), one.logprobs.tobytes(), list(one.pieces))
            for one in found
        ]
        self._write(question, msgspec.msgpack.encode(rows))

    def tokens(self, question: Mapping[str, Any]) -> list[TextToken] | None:
        """As :meth:`positions`."""
        data = self._read(question)
        try:
            return None if data is None else [TextToken(*one) for one in _tokens.decode(data)]
        except msgspec.DecodeError:
            return None

    def keep_tokens(self, question: Mapping[str, Any], found: Sequence[TextToken]) -> None:
        """As :meth:`keep_positions`."""
        self._write(question, msgspec.msgpack.encode([tuple(one) for one in found]))

    def _path(self, question: Mapping[str, Any]) -> Path | None:
        if self._root is None:
            return None
        name = hashlib.sha256(rfc8785.dumps(dict(question))).hexdigest()
        return self._root / name[:2] / name

    def _read(self, question: Mapping[str, Any]) -> bytes | None:
        path = self._path(question)
        if path is None:
            return None
        with disk.reporting(path):
            data = disk.read_plain(path, MOST_BYTES)
        if data is None or hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        return data[32:]

    def _write(self, question: Mapping[str, Any], data: bytes) -> None:
        path = self._path(question)
        if path is None:
            return
        with disk.reporting(path):
            disk.make_dir(path.parent)
            temp = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
            disk.write_temp(temp, hashlib.sha256(data).digest() + data, 0o600)
            disk.publish(temp, path)


def _unpacked(row: _Position) -> ScoredPosition:
    ids, logprobs = array("q"), array("d")
    ids.frombytes(row.ids)
    logprobs.frombytes(row.logprobs)
    if not len(ids) == len(logprobs) == len(row.pieces):
        raise ValueError("lists of different lengths")
    return ScoredPosition(row.token, ids, logprobs, tuple(row.pieces))
