"""`outlast export` and `outlast import`, beside a copy that is hashed, and backup programs."""

import shutil
import statistics
from functools import partial
from pathlib import Path

from bench import profiling
from bench.durability import backups
from bench.durability.backups import Par2, Repositories
from bench.durability.rig import CAPSULE, COPY, NAME, PLAIN, Race, Rig, Run, Scratch, bytes_below
from bench.durability.weights import write_tuned
from bench.process import Cost
from bench.rows import OURS, Row, Target, absolute
from bench.stage import GIGA, MissingPeerError

_AS_FAST = Target("≥", 0.8)
_NO_PARITY = ("--parity", "0")
_CAPSULES = "outlast, capsules"
_CHEAP = Target("≤", 0.3, absolute=True)
_SMALL = Target("≤", 1.01, absolute=True)
_CHEAP_PEER = "without parity"
_TUNED = "bench/tuned"
_TUNED_FILES = 10
_TENTH = 10


def export(rig: Rig) -> list[Row]:
    """Of plain blobs, and of capsules: MB of plain form a second. Parity has rows of its own."""
    repositories = Repositories(rig)
    contestants: dict[str, Run] = {
        OURS: partial(_exported, rig, PLAIN),
        _CAPSULES: partial(_exported, rig, CAPSULE),
        COPY: rig.copy,
    }
    for backup in backups.installed():
        contestants[f"{backup.name} backup"] = repositories.storing(backup)
    ferry, why = backups.ferry(rig)
    if ferry is not None:
        contestants["modelferry pack (downloads first)"] = ferry.pack
    race = rig.race(contestants)
    rows = _both(rig, "export", race, "; ".join(filter(None, (backups.lacking(), why))))
    return profiling.explained(rows, lambda: _profile_export(rig))


def import_(rig: Rig) -> list[Row]:
    """Into an empty archive: checked by sha256, and kept."""
    repositories = Repositories(rig)
    bundles = {form: _bundle(rig, form, *_NO_PARITY) for form in (PLAIN, CAPSULE)}
    contestants: dict[str, Run] = {
        OURS: partial(_imported, rig, bundles[PLAIN]),
        _CAPSULES: partial(_imported, rig, bundles[CAPSULE]),
        COPY: rig.copy,
    }
    for backup in backups.installed():
        contestants[f"{backup.name} restore"] = repositories.restoring(backup)
    ferry, why = backups.ferry(rig)
    if ferry is not None:
        contestants["modelferry unpack"] = ferry.unpack
    race = rig.race(contestants)
    rows = _both(rig, "import", race, "; ".join(filter(None, (backups.lacking(), why))))
    return profiling.explained(rows, lambda: _profile_import(rig, bundles[PLAIN]))


def parity(rig: Rig) -> list[Row]:
    """What a tenth of parity costs, and what it gives: an import from which parts are missing."""
    race = rig.race(
        {OURS: partial(_exported, rig, PLAIN, "10%"), _CHEAP_PEER: partial(_exported, rig, PLAIN)}
    )
    spent = race.cpu
    shares = [1 - a / b for a, b in zip(race.speeds[OURS], race.speeds[_CHEAP_PEER], strict=True)]
    of_cpu = [1 - b / a for a, b in zip(spent[OURS], spent[_CHEAP_PEER], strict=True)]
    added = [
        (a - b) * GIGA / rig.size for a, b in zip(spent[OURS], spent[_CHEAP_PEER], strict=True)
    ]
    par2, note = _par2(rig)
    what = f"parity 10 % of {rig.text}"
    return [
        absolute(f"{what}: share of export's time", "", shares, target=_CHEAP),
        absolute(f"{what}: share of export's CPU", "", of_cpu, target=_CHEAP),
        absolute(
            f"{what}: CPU per GB",
            "CPU-s",
            added,
            target=None,
            peers=_per_gigabyte(rig, par2.create, par2) if par2 else {},
            note=note,
        ),
        *_repaired(rig, par2),
    ]


def since(rig: Rig) -> list[Row]:
    """A fine-tune for a reader who has its base: the bundle beside the delta capsules in it."""
    base = rig.files[:_TUNED_FILES]
    folder = rig.stage.folder
    home, bases, tuned = folder / "since-home", folder / "since-base", folder / "since-tuned"
    try:
        bases.mkdir()
        for path in base:
            (bases / path.name).hardlink_to(path)
        rig.archive(home, bases, NAME, "--form", CAPSULE)
        capsules = bytes_below(home / "capsules")
        rig.export(home, folder / "since-first")
        write_tuned(tuned, base)
        rig.archive(home, tuned, _TUNED, "--form", CAPSULE, "--base", NAME)
        delta = bytes_below(home / "capsules") - capsules
        sizes = {}
        for percent in ("0", "10%"):
            to = folder / "since-second"
            last = folder / "since-first" / "bundle.json"
            rig.export(home, to, "--since", last, "--parity", percent, name=_TUNED)
            sizes[percent] = bytes_below(to)
            shutil.rmtree(to)
    finally:
        for path in (home, bases, tuned, folder / "since-first"):
            shutil.rmtree(path, ignore_errors=True)
    plain = sum(path.stat().st_size for path in base)
    what = f"bundle since the last, a fine-tune of {plain / GIGA:.2g} GB, ÷ its delta capsules"
    beside = {"with 10 % of parity": sizes["10%"] / delta, "plain bytes": plain / delta}
    return [absolute(what, "x", [sizes["0"] / delta], target=_SMALL, peers=beside)]


def _both(rig: Rig, verb: str, race: Race, note: str) -> list[Row]:
    plain = race.without(_CAPSULES)
    packed = race.without(
        *(name for name in race.cpu if name not in {COPY, _CAPSULES}), ours=_CAPSULES
    )
    return [
        *plain.rows(f"{verb}, {rig.text} of plain blobs", COPY, _AS_FAST, note),
        *packed.rows(f"{verb}, {rig.text} in capsules", COPY, _AS_FAST),
    ]


def _exported(rig: Rig, form: str, percent: str = "0") -> Cost:
    home = rig.home(form)
    with Scratch(rig.stage, "exported") as to:
        return rig.export(home, to, "--parity", percent)


def _imported(rig: Rig, bundle: Path) -> Cost:
    with Scratch(rig.stage, "imported") as home:
        return rig.stage.outlast("import", bundle, "--home", home, "--quiet")


def _bundle(rig: Rig, form: str, *options: str) -> Path:
    to = rig.stage.folder / f"bundle-{form}-{'-'.join(options).strip('-')}"
    if not to.exists():
        rig.export(rig.home(form), to, *options)
    return to


def _profile_export(rig: Rig) -> profiling.Profile:
    with Scratch(rig.stage, "exported") as to:
        words = ("export", NAME, "--to", to, "--home", rig.home(PLAIN), "--quiet", *_NO_PARITY)
        return profiling.of_command(rig.stage, *words)


def _profile_import(rig: Rig, bundle: Path) -> profiling.Profile:
    with Scratch(rig.stage, "imported") as home:
        return profiling.of_command(rig.stage, "import", bundle, "--home", home, "--quiet")


def _par2(rig: Rig) -> tuple[Par2 | None, str]:
    try:
        par2 = Par2(rig)
    except MissingPeerError as error:
        return None, str(error)
    return par2, f"par2: of a file of {par2.size // 1_000_000} MB"


def _per_gigabyte(rig: Rig, run: Run, par2: Par2) -> dict[str, float]:
    race = rig.race({OURS: run}, par2.size)
    return {"par2": statistics.median(race.cpu[OURS]) * GIGA / par2.size}


def _repaired(rig: Rig, par2: Par2 | None) -> list[Row]:
    bundle = _bundle(rig, PLAIN, "--parity", "10%")
    parts = sorted((bundle / "parts").iterdir())
    lost = parts[::_TENTH][: len(parts) // _TENTH]
    for part in lost:
        part.unlink()
    race = rig.race({OURS: partial(_imported, rig, bundle)})
    beside: dict[str, float | None] = {}
    if par2 is not None:
        repaired = rig.race({OURS: par2.repair}, par2.size)
        beside = {"par2 repair": statistics.median(repaired.speeds[OURS])}
    what = f"import, {rig.text}, {len(lost)} of {len(parts)} parts lost"
    return [absolute(what, "MB/s", race.speeds[OURS], target=None, peers=beside)]
