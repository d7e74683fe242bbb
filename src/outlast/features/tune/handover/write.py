"""Use case: hand a training over to another program, in a folder that has all of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from outlast.core.control import Control
from outlast.core.errors import EngineError, StorageError
from outlast.core.names import Target
from outlast.core.records.lineage import MadeFrom
from outlast.features.tune.archived import write_small
from outlast.features.tune.base import refuse_same
from outlast.features.tune.data import Row, read_rows, split
from outlast.features.tune.handover.axolotl import axolotl_config
from outlast.features.tune.handover.job import JOB, Handover
from outlast.features.tune.options import TuneOptions
from outlast.ops.export import link
from outlast.store import disk
from outlast.store.archive import Archive

ENGINES: Final = ("axolotl", "torchrun", "ray")
BASE: Final = "base"
ROWS: Final = "rows.jsonl"
_SCRIPTS: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A folder that is ready. `run` is the command that trains in it, `take` the one that archives
    the result.
    """

    folder: Path
    rows: int
    held_out: int
    run: str
    take: str


def hand_over(
    archive: Archive,
    base: Target,
    out: Target,
    *,
    engine: str,
    data: Path,
    folder: Path,
    options: TuneOptions,
    control: Control,
) -> HandedOver:
    """Writes `folder`: the base's files as links, the rows, the configuration of `engine` (one of
    :data:`ENGINES`) and what takes the result back. Raises what reading the rows and linking the
    base do, :class:`EngineError` for a base without safetensors, and :class:`StorageError` where
    `folder` has something.
    """
    refuse_same(base, out)
    rows = read_rows(data)
    learn, held = split(rows.rows, options.held_out)
    revision = archive.revision(base.repo, base.ref)
    if not any(path.endswith(".safetensors") for path in revision.paths):
        raise EngineError(
            f"{base} has no safetensors, which {engine} needs",
            hint="'outlast tune' without --engine dequantises a GGUF file",
        )
    with disk.reporting(folder):
        if folder.exists() and any(folder.iterdir()):
            raise StorageError(f"{folder} is not empty", hint="name an empty folder")
        disk.make_dir(folder)
    link(archive, base, cache=None, folder=folder / BASE, control=control)
    job = Handover(
        engine,
        MadeFrom(revision.repo, revision.digest, revision.commit),
        rows.digest,
        options,
        learn=len(learn),
    )
    with disk.reporting(folder):
        write_small(folder / JOB, job.to_bytes())
        write_small(folder / ROWS, b"".join(_line(row, rows.kind) for row in (*learn, *held)))
        run = _write_for(engine, folder, options, rows.kind, held=len(held), of=len(rows.rows))
    take = f"outlast tune {base} --take {folder} --out {out}"
    return HandedOver(folder, len(learn), len(held), run, take)


def _write_for(
    engine: str, folder: Path, options: TuneOptions, kind: str, *, held: int, of: int
) -> str:
    """Writes what this engine reads; the command that starts it."""
    if engine == "axolotl":
        config = axolotl_config(folder.absolute(), kind, options, held=held / of)
        # JSON is YAML too.
        write_small(folder / "axolotl.yaml", _pretty(config))
        return f"axolotl train {folder / 'axolotl.yaml'}"
    write_small(folder / "train.py", (_SCRIPTS / "train_script.py").read_bytes())
    if engine == "torchrun":
        return f"torchrun --nproc-per-node 2 {folder / 'train.py'}"
    write_small(folder / "ray_train.py", (_SCRIPTS / "ray_script.py").read_bytes())
    return f"python {folder / 'ray_train.py'} --workers 2"


def _line(row: Row, kind: str) -> bytes:
    """A row as it was read, without what is not used."""
    said: dict[str, Any]
    if row.messages:
        said = {"messages": [{"role": r, "content": c} for r, c in row.messages]}
    elif kind == "text":
        said = {"text": row.segments[0].text}
    else:
        texts = {segment.learned: segment.text for segment in row.segments}
        said = {"prompt": texts.get(False, ""), "completion": texts[True]}
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


def _pretty(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config, indent=2).encode() + b"\n"
