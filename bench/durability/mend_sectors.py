"""A worker: mends sectors of a payload from its file of parity, and says what it took, beside
reading and comparing all of the payload.

`python -m bench.durability.mend_sectors PAYLOAD SECTORS SEED`

Prints one line of JSON: seconds of wall time and of CPU for `encode`, and from the disk and
(`again`) from memory for `read`, for `find and mend`, which reads all of it once and mends what
differs, and for `mend`, of pieces that are known to be damaged.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.durability.rig import forget_pages
from outlast.codec import kernels
from outlast.codec.merkle import PIECE
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.features.durability.parity.encode import encode
from outlast.features.durability.parity.files import DEFAULT_PERCENT
from outlast.features.durability.parity.geometry import BLOCK, ParityHead, Share
from outlast.features.durability.parity.mend import ParityMender
from outlast.store.forms import StoredFile

Sums = list[int]


def main(payload: Path, sectors: int, seed: int) -> None:
    """Damages `payload`, which is not restored."""
    parity = payload.with_suffix(".olp")
    costs = {"encode": _cost(lambda: _encode(payload, parity))}
    right = _sums(payload)
    _damage(payload, sectors, random.Random(seed))
    for step in ("", " again"):
        if not step:
            forget_pages([payload, parity])
        costs[f"read{step}"] = _cost(lambda: _sums(payload))
        bad = [i for i, (a, b) in enumerate(zip(right, _sums(payload), strict=True)) if a != b]
        for name, work in (("find and mend", _find_and_mend), ("mend", _mend)):
            if not step:
                forget_pages([payload, parity])
            costs[f"{name}{step}"] = _cost(partial(work, payload, parity, bad, right))
    print(json.dumps(costs))


def _cost(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _encode(payload: Path, parity: Path) -> None:
    file = StoredFile(payload)
    head = ParityHead(
        Digest.of(b""), Form.PLAIN, file.size, Share.of_percent(DEFAULT_PERCENT)
    )  # no process asks here whose parity it is
    with parity.open("wb") as out:
        for chunk in encode(file, head, lambda _: None):
            out.write(chunk)
    file.close()


def _sums(payload: Path) -> Sums:
    """Of each piece, as checked reading compares it."""
    file, found = StoredFile(payload), []
    buffer = memoryview(bytearray(PIECE))
    for start in range(0, file.size, PIECE):
        piece = buffer[: min(PIECE, file.size - start)]
        file.readinto(start, piece)
        found.append(kernels.xxh3(piece))
    file.close()
    return found


def _damage(payload: Path, sectors: int, chance: random.Random) -> None:
    with payload.open("r+b") as file:
        blocks = payload.stat().st_size // BLOCK
        for block in chance.sample(range(blocks), sectors):
            file.seek(block * BLOCK)
            file.write(os.urandom(BLOCK))


def _mend(payload: Path, parity: Path, bad: list[int], right: Sums) -> None:
    with _mender(payload, parity) as mender:
        _compare(mender.pieces(bad), bad, right)


def _find_and_mend(payload: Path, parity: Path, bad: list[int], right: Sums) -> None:
    with _mender(payload, parity) as mender:
        _compare(mender.differing(lambda n, piece: kernels.xxh3(piece) == right[n]), bad, right)


@contextmanager
def _mender(payload: Path, parity: Path) -> Iterator[ParityMender]:
    damaged, sums = StoredFile(payload), StoredFile(parity)
    yield ParityMender(damaged, sums)
    damaged.close()
    sums.close()


def _compare(mended: Iterator[tuple[int, bytearray | None]], bad: list[int], right: Sums) -> None:
    left = set(bad)
    for number, piece in mended:
        if piece is None or kernels.xxh3(memoryview(piece)) != right[number]:
            raise SystemExit(f"piece {number} was mended to other bytes")
        left.remove(number)
    if left:
        raise SystemExit(f"{len(left)} pieces were not mended")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
