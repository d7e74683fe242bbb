"""A worker: mends sectors of a payload from its file of parity, and says what it took, beside
reading and comparing all of the payload.

`python -m bench.durability.mend_sectors PAYLOAD SECTORS SEED`

Prints one line of JSON: seconds of wall time and of CPU for `encode`, and for `read` and `mend`
from the disk and (`read again`, `mend again`) from memory.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
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
        if not step:
            forget_pages([payload, parity])
        costs[f"mend{step}"] = _cost(partial(_mend, payload, parity, bad, right))
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
    damaged, sums = StoredFile(payload), StoredFile(parity)
    mender = ParityMender(damaged, sums)
    for number in bad:
        if kernels.xxh3(memoryview(mender.piece(number))) != right[number]:
            raise SystemExit(f"piece {number} was mended to other bytes")
    damaged.close()
    sums.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
