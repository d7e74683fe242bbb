"""Use case: add an adapter into the weights of its base, and archive the result as a model."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast import __version__
from outlast.core.control import Control
from outlast.core.errors import DiskFullError, EngineError, UsageError
from outlast.core.manifest import Revision
from outlast.core.names import RunTarget, Target
from outlast.core.records.lineage import AncestorRole, LineageRecord, MadeFrom, Making
from outlast.engines.adapters import LoraAdapter
from outlast.engines.process import Log
from outlast.features.tune.archived import archive_made, write_small
from outlast.features.tune.base import TuneBase, open_base, refuse_same
from outlast.features.tune.session import WorkSession, require_packages
from outlast.features.tune.work.names import CARD
from outlast.intake.form_policy import FormWishes
from outlast.ops.add import Added
from outlast.ops.run_adapter import prepare_adapter, resolve
from outlast.store import disk
from outlast.store.archive import Archive

_ADAPTER: Final = "adapter.safetensors"
_BESIDE: Final = 64 << 20
"""Bytes of a file beside the weights that is taken along. Guess: tokenizers have 20 MB."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model in the archive. `adapter_bytes`: of the adapter's files."""

    record: LineageRecord
    added: Added
    adapter_bytes: int


def merge(
    archive: Archive,
    target: RunTarget,
    out: Target,
    *,
    any_base: bool,
    budget: int | None,
    control: Control,
    log: Log | None = None,
) -> Merged:
    """Merges an adapter (with its base, if that is named) as `out`. Raises what preparing them
    does, :class:`EngineError` for an adapter that cannot be added into weights, and
    :class:`DiskFullError`.
    """
    found = resolve(archive, target)
    if found.adapter is None:
        raise UsageError(f"{target} is no adapter", hint="outlast merge org/adapter --out org/name")
    refuse_same(found.model, out)
    refuse_same(found.adapter, out)
    archive.refs.refuse_twin(out.repo)
    with (
        open_base(archive, found.model, wanted=None, budget=budget, control=control) as base,
        prepare_adapter(
            archive, found.adapter, base.revision, any_base=any_base, budget=budget, control=control
        ) as adapter,
        disk.reporting(archive.layout.tmp),
        tempfile.TemporaryDirectory(dir=_place(archive), prefix="merge-") as made,
    ):
        require_packages(*(["gguf"] if base.gguf else []))
        if adapter.adapter is None:
            raise EngineError(
                "an adapter in GGUF is not merged", hint="merge the one that it was converted from"
            )
        if adapter.adapter.magnitudes:
            raise EngineError("an adapter with magnitudes (DoRA) cannot be merged here")
        _require_room(base, Path(made))
        _write(base, adapter.adapter, adapter.path, Path(made), control=control, log=log)
        record = _record(base, adapter.revision, adapter.adapter)
        # The delta is against the base that it was made from, and no other.
        wishes = FormWishes(
            base=None if base.gguf else Target(base.revision.repo, base.revision.id.hex)
        )
        added = archive_made(archive, Path(made), out, record, control=control, wishes=wishes)
    return Merged(record, added, adapter.revision.size)


def _place(archive: Archive) -> Path:
    """A folder for what is being made, which no start sweeps."""
    folder = archive.layout.home / "tuning"
    disk.make_dir(folder)
    return folder


def _require_room(base: TuneBase, folder: Path) -> None:
    # Dequantised weights take at most four times the bytes of the file, twice for a while.
    needed = 8 * base.gguf or base.prepared.choice.size
    if needed > (free := disk.free_bytes(folder)):
        raise DiskFullError(f"the merge needs {needed} bytes; {free} are free in {folder}")


def _write(
    base: TuneBase,
    adapter: LoraAdapter,
    path: Path,
    made: Path,
    *,
    control: Control,
    log: Log | None,
) -> None:
    modules = {name: adapter.scale(name) for name in adapter.modules}
    config = {
        "adapter": _ADAPTER,
        "made": os.path.abspath(made),
        "model": base.place,
        "modules": modules,
    }
    links = {**base.links, _ADAPTER: path}
    module = "outlast.features.tune.work.merge_main"
    with WorkSession(config, links, control, module=module, log=log) as session:
        base.prepared.confirm()
        session.ask("merge")
    if not base.gguf:
        _take_along(base, made)


def _take_along(base: TuneBase, made: Path) -> None:
    """The configuration and the tokenizer: what the engine reads beside the weights."""
    choice, folder = base.prepared.choice, base.prepared.folder
    assert folder is not None
    for path in choice.files:
        name = path.removeprefix(f"{choice.folder}/") if choice.folder else path
        source = folder / name
        if name.endswith(".safetensors") or name in {CARD, "lineage.json"}:
            continue
        if source.is_file() and source.stat().st_size <= _BESIDE:
            disk.make_dir((made / name).parent)
            write_small(made / name, source.read_bytes())


def _record(base: TuneBase, revision: Revision, adapter: LoraAdapter) -> LineageRecord:
    return LineageRecord(
        Making.MERGE,
        (base.ancestor, _ancestor(revision)),
        versions={"outlast": __version__},
        metrics={"modules": len(adapter.modules)},
    )


def _ancestor(revision: Revision) -> MadeFrom:
    return MadeFrom(revision.repo, revision.digest, revision.commit, AncestorRole.ADAPTER)
