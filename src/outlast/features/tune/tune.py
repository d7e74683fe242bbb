"""Use case: train a LoRA on an archived model, and archive it with the record of what it was made
from. A training that was cut off goes on from its last checkpoint when it is asked for again.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from outlast import __version__
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import BadDataError, BusyError, DiskFullError, EngineError
from outlast.core.events import Note
from outlast.core.names import Target
from outlast.core.records.lineage import LineageRecord, Making
from outlast.engines.process import Log
from outlast.features.tune.archived import archive_made
from outlast.features.tune.base import TuneBase, open_base, refuse_same
from outlast.features.tune.data import MOST_TOLD, Problem, Rows, read_rows, refuse, split
from outlast.features.tune.options import TuneOptions
from outlast.features.tune.session import WorkSession, require_packages
from outlast.features.tune.tuning import TUNING
from outlast.features.tune.work.names import CHECKPOINT
from outlast.ops.add import Added
from outlast.store import disk
from outlast.store.archive import Archive

FOLDER: Final = "tuning"
"""In the archive's folder: a folder for each training that is under way, by its key."""
_LOCK: Final = "lock"
_MADE: Final = "adapter"


@dataclass(frozen=True, slots=True)
class TuneWishes:
    """What is asked beside the options that the result follows from. `wanted` names the file of a
    base that has several; `cut`: longer rows are cut; `every`: seconds between checkpoints.
    """

    dry_run: bool = False
    wanted: str | None = None
    cut: bool = False
    every: float = TUNING.checkpoint_seconds
    budget: int | None = None
    log: Log | None = None
    loading: Callable[[float], object] = bool


@dataclass(frozen=True, slots=True)
class TunePlan:
    """What a tuning takes. `rows` are learned from, `held_out` only measured; `repeated` were left
    out, `cut` have more tokens than the bound. `tokens`: of the rows, `learned` of which the model
    learns to write. `memory` and `disk` in bytes; `step_seconds`: measured, None if it was not.
    """

    rows: int
    held_out: int
    repeated: int
    cut: int
    tokens: int
    learned: int
    longest: int
    steps: int
    trainable: int
    memory: int
    free_memory: int
    disk: int
    step_seconds: float | None = None
    load_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """An adapter that is in the archive now; None after a dry run. `plan` is None for one that
    another program trained.
    """

    plan: TunePlan | None
    record: LineageRecord | None = None
    added: Added | None = None


def tune(
    archive: Archive,
    base: Target,
    out: Target,
    *,
    data: Path,
    options: TuneOptions,
    wishes: TuneWishes,
    control: Control,
) -> Tuned:
    """Checks the data and the base, estimates, trains, and archives the adapter as `out`. Raises
    :class:`BadDataError` with the lines that are wrong, :class:`DiskFullError`,
    :class:`EngineError`, :class:`BusyError` where the same training is under way, and
    :class:`~outlast.core.errors.Cancelled`: it goes on where it ended.
    """
    refuse_same(base, out)
    archive.refs.refuse_twin(out.repo)
    rows = read_rows(data)
    split(rows.rows, options.held_out)  # before minutes are spent
    _warn(rows, control)
    with open_base(
        archive, base, wanted=wishes.wanted, budget=wishes.budget, control=control
    ) as ready:
        require_packages(*(["gguf"] if ready.gguf else []))
        key = _key(ready, rows, options)
        folder = archive.layout.home / FOLDER / key[:32]
        with disk.reporting(folder):
            disk.make_dir(folder)
            folder.chmod(0o700)
        with disk.turn(folder / _LOCK, _busy):
            return _tune(archive, ready, (data, rows), out, options, wishes, control, folder, key)


def _tune(  # noqa: PLR0917 - what was opened and named for one training
    archive: Archive,
    ready: TuneBase,
    data: tuple[Path, Rows],
    out: Target,
    options: TuneOptions,
    wishes: TuneWishes,
    control: Control,
    folder: Path,
    key: str,
) -> Tuned:
    path, rows = data
    made = folder / _MADE
    with disk.reporting(folder):
        disk.make_dir(made)
    config = {
        "base": ready.revision.repo.name,
        "commit": None if ready.revision.commit is None else ready.revision.commit.hex,
        "data": os.path.abspath(path),
        "digest": rows.digest.hex,
        "every": wishes.every,
        "folder": os.path.abspath(folder),
        "gguf": ready.gguf,
        "key": key,
        "made": _MADE,
        "model": ready.place,
        "options": asdict(options),
    }
    with WorkSession(
        config, ready.links, control, log=wishes.log, loading=wishes.loading
    ) as session:
        ready.prepared.confirm()
        read = session.read()
        plan = _plan(rows, read)
        _judge(str(path), read, plan, folder, cut=wishes.cut)
        if wishes.dry_run:
            seconds = session.ask("measure")
            if not (folder / CHECKPOINT).exists():  # else one that was cut off goes on from it
                _clean(folder)
            return Tuned(_measured(plan, seconds))
        trained = session.ask("train")
        facts = session.facts
    record = _record(ready, rows, options, facts, plan, trained)
    added = archive_made(archive, made, out, record, control=control)
    _clean(folder)
    return Tuned(plan, record, added)


def _clean(folder: Path) -> None:
    with disk.reporting(folder):
        disk.remove_tree(folder)


def _busy(_seconds: float) -> None:
    raise BusyError("another process is at the same tuning", hint="wait until it is done")


def _warn(rows: Rows, control: Control) -> None:
    if rows.repeated:
        lines = ", ".join(map(str, rows.repeated[:MOST_TOLD]))
        more = ", …" if len(rows.repeated) > MOST_TOLD else ""
        control.emit(Note(f"warning: left out, the same as earlier lines: lines {lines}{more}"))
    if rows.extra:
        keys = ", ".join(sorted(rows.extra)[:MOST_TOLD])
        control.emit(Note(f"warning: these keys of the rows are not used: {keys}"))


def _key(ready: TuneBase, rows: Rows, options: TuneOptions) -> str:
    """What names a training: all that its result follows from, the libraries apart."""
    document: dict[str, Any] = {
        "base": ready.ancestor.to_json(),
        "data": rows.digest.hex,
        "options": options.parameters(),
        "outlast": __version__,
        "seed": options.seed,
    }
    return Digest.of(rfc8785.dumps(document)).hex


def _plan(rows: Rows, read: Mapping[str, Any]) -> TunePlan:
    return TunePlan(
        rows=read["rows"],
        held_out=read["held_out"],
        repeated=len(rows.repeated),
        cut=len(read["cut"]),
        tokens=read["tokens"],
        learned=read["learned"],
        longest=read["longest"],
        steps=read["steps"],
        trainable=read["trainable"],
        memory=read["memory"],
        free_memory=read["free_memory"],
        disk=read["disk"],
    )


def _measured(plan: TunePlan, seconds: Mapping[str, Any]) -> TunePlan:
    values = {name: getattr(plan, name) for name in plan.__slots__}
    values |= {name: seconds[name] for name in ("step_seconds", "load_seconds")}
    return TunePlan(**values)


def _judge(name: str, read: Mapping[str, Any], plan: TunePlan, folder: Path, *, cut: bool) -> None:
    """Raises where the rows, the memory or the disk do not do."""
    refuse(name, [Problem(line, what) for line, what in read["problems"]])
    if read["cut"] and not cut:
        problems = [Problem(line, f"{tokens} tokens") for line, tokens in read["cut"]]
        told = "; ".join(map(str, _some(problems)))
        raise BadDataError(
            f"{name}: {len(problems)} rows are longer than the bound, and would be cut: {told}",
            hint="--cut cuts them at their ends; --length sets the bound",
            problems=tuple(map(str, problems)),
        )
    if plan.free_memory and plan.memory > plan.free_memory:
        raise EngineError(
            f"the tuning needs about {plan.memory} bytes of memory, "
            f"and {plan.free_memory} are free",
            hint="a smaller --batch or --length needs less",
        )
    with disk.reporting(folder):
        free = disk.free_bytes(folder)
    if plan.disk > free:
        raise DiskFullError(f"checkpoints need {plan.disk} bytes; {free} are free in {folder}")


def _some(problems: Sequence[Problem]) -> Sequence[Problem]:
    return problems[:MOST_TOLD]


def _record(  # noqa: PLR0917 - what the record is made of
    ready: TuneBase,
    rows: Rows,
    options: TuneOptions,
    facts: Mapping[str, Any],
    plan: TunePlan,
    trained: Mapping[str, Any],
) -> LineageRecord:
    metrics: dict[str, int | float] = {
        "cut_rows": plan.cut,
        "held_out_rows": plan.held_out,
        "learned_tokens": trained["tokens"],
        "loss": trained["loss"],
        "repeated_rows": plan.repeated,
        "rows": plan.rows,
        "steps": trained["steps"],
        "trainable": plan.trainable,
    }
    for name in ("before", "after"):
        if trained[name] is not None:
            metrics[f"held_out_loss_{name}"] = trained[name]
    template = str(facts["template"])
    return LineageRecord(
        Making.ADAPTER,
        (ready.ancestor,),
        data=rows.digest,
        tokenizer=Digest(facts["tokenizer"]) if facts["tokenizer"] else None,
        template=Digest.of(template.encode()) if template else None,
        parameters=options.parameters(),
        versions={**facts["versions"], "outlast": __version__},
        metrics=metrics,
        seed=options.seed,
    )
