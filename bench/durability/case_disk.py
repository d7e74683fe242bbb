"""`outlast scrub`, and parity beside the blobs of an archive."""

import json
import statistics
import subprocess
import sys
from functools import partial

from bench import profiling
from bench.durability import backups
from bench.durability.backups import Repositories
from bench.durability.rig import CAPSULE, PLAIN, Rig, Run, forget_pages
from bench.hub import write_random
from bench.process import BenchError, Cost
from bench.rows import OURS, Row, Target, absolute
from bench.stage import GIGA, Stage, size_text

_FAST = Target("≥", 1.5, absolute=True)
_AS_FAST = Target("≥", 0.9)
_QUICK = Target("≤", 1.5, absolute=True)
_OPENSSL = "openssl sha256"
_CAPSULES = "outlast, capsules"
_PER_SECTOR = 10_000_000
"""Bytes of a payload for each sector that is damaged: 1,000 of them in 10 GB."""


def scrub(rig: Rig) -> list[Row]:
    """By checksums, and by sha256. Scrubs take the lowest priority: so does what is beside them."""
    return [*_checksums(rig), *_hashes(rig)]


def _checksums(rig: Rig) -> list[Row]:
    race = rig.race({form: partial(_scrub, rig, form) for form in (PLAIN, CAPSULE)})
    idle = _start(rig)
    rows = [
        absolute(
            f"scrub by checksums, {rig.text} {where}, a core: restored bytes",
            "GB/s",
            [rig.size / GIGA / max(spent - idle, 0.001) for spent in race.cpu[form]],
            target=_FAST,
            peers={"by wall clock": statistics.median(race.speeds[form]) / 1000},
            note=f"scrub: {idle:.2f} CPU-s, those of an empty archive, are not counted",
        )
        for form, where in ((PLAIN, "of plain blobs"), (CAPSULE, "in capsules"))
    ]
    words = ("scrub", "--no-mend", "--home", rig.home(CAPSULE))
    return profiling.explained(rows, lambda: profiling.of_command(rig.stage, *words))


def _hashes(rig: Rig) -> list[Row]:
    repositories = Repositories(rig)
    contestants: dict[str, Run] = {
        OURS: partial(_scrub, rig, PLAIN, "--full"),
        _CAPSULES: partial(_scrub, rig, CAPSULE, "--full"),
        _OPENSSL: partial(_hash, rig),
    }
    for backup in backups.installed():
        contestants[f"{backup.name} check of all data"] = repositories.checking(backup)
    race = rig.race(contestants)
    plain = race.without(_CAPSULES)
    packed = race.without(*(set(race.cpu) - {_OPENSSL, _CAPSULES}), ours=_CAPSULES)
    rows = [
        *plain.rows(f"scrub --full, {rig.text} of plain blobs", _OPENSSL, _AS_FAST),
        *packed.rows(f"scrub --full, {rig.text} in capsules", _OPENSSL, _AS_FAST),
    ]
    words = ("scrub", "--no-mend", "--full", "--home", rig.home(CAPSULE))
    return profiling.explained(rows, lambda: profiling.of_command(rig.stage, *words))


def _scrub(rig: Rig, form: str, *options: str) -> Cost:
    return rig.stage.outlast("scrub", "--no-mend", "--home", rig.home(form), *options)


def _start(rig: Rig) -> float:
    """CPU seconds of a scrub that has nothing to read."""
    home = rig.stage.folder / "home-small"
    small = rig.stage.folder / "small.safetensors"
    write_random(small, 1000)
    rig.stage.outlast("add", small, "--as", "bench/small", "--home", home, "--quiet")
    words = ("scrub", "--no-mend", "--home", home)
    return statistics.median(rig.stage.outlast(*words).cpu for _ in range(3))


def _hash(rig: Rig) -> Cost:
    forget_pages(rig.files)
    return rig.run("nice", "-n", "19", "openssl", "sha256", *rig.files)


def mending(rig: Rig) -> list[Row]:
    """Parity of 2 %: scattered sectors of a payload, found and mended, beside reading it: in one
    pass, or first found and then, with nothing in memory any more, mended.
    """
    size = 2 * rig.stage.size
    sectors = round(size / _PER_SECTOR)
    found = [_mended(rig.stage, size, sectors, seed) for seed in range(rig.stage.pairs)]
    what = f"parity 2 % in place, {sectors} sectors of {size_text(size)}"
    clocks = (
        ("wall clock", 0, "", _QUICK),
        ("from memory", 0, " again", None),
        ("CPU", 1, "", None),
    )
    rows = []
    for title, i, step, target in clocks:
        beside = {
            f"{name}, s": statistics.median(cost[name][i] for cost in found)
            for name in (f"read{step}", f"find and mend{step}", f"mend{step}", "encode")
        }
        once = [cost[f"find and mend{step}"][i] / cost[f"read{step}"][i] for cost in found]
        known = [1 + cost[f"mend{step}"][i] / cost[f"read{step}"][i] for cost in found]
        rows += [
            absolute(
                f"{what} found and mended ÷ read, {title}", "x", once, target=target, peers=beside
            ),
            absolute(
                f"{what} read, and then mended ÷ read, {title}", "x", known, target=None, peers={}
            ),
        ]
    return rows


def _mended(stage: Stage, size: int, sectors: int, seed: int) -> dict[str, list[float]]:
    payload = stage.folder / "payload.bin"
    try:
        write_random(payload, size)
        words = [str(payload), str(sectors), str(seed)]
        done = subprocess.run(
            [sys.executable, "-m", "bench.durability.mend_sectors", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"mending failed: {done.stderr.strip()[-1000:]}")
        costs: dict[str, list[float]] = json.loads(done.stdout)
        return costs
    finally:
        payload.unlink(missing_ok=True)
        payload.with_suffix(".olp").unlink(missing_ok=True)
