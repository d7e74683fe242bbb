"""Use case: archive an adapter that another program trained on an archived base, with a record."""

import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from outlast import __version__
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, NotFoundError, UsageError
from outlast.core.manifest import Revision, load_json
from outlast.core.names import Target
from outlast.core.policy import Action
from outlast.core.records.lineage import LineageRecord, MadeFrom, Making
from outlast.engines.adapters import CONFIG, MAX_CONFIG, WEIGHTS, LoraAdapter, read_adapter
from outlast.features.tune.archived import archive_made, write_small
from outlast.features.tune.base import refuse_same
from outlast.features.tune.data import read_rows
from outlast.features.tune.handover.job import ADAPTER, Handover, ToldMetrics, read_metrics
from outlast.features.tune.tune import FOLDER, Tuned
from outlast.intake.capsule_stream import OpenFile
from outlast.intake.form_policy import container_of
from outlast.intake.judging import require_revision
from outlast.store import disk
from outlast.store.archive import Archive


def take(
    archive: Archive,
    base: Target,
    out: Target,
    folder: Path,
    *,
    data: Path | None,
    control: Control,
) -> Tuned:
    """Archives the two files of a LoRA in `folder` as `out`, made for `base`. What its
    configuration says of a path to the base becomes the base's name and commit. `data`: the rows
    that it was trained on, for the record. A folder that a training was handed over in says more:
    its options, its data and what the program measured. Raises what :func:`read_adapter` does,
    :class:`UsageError` for a training that was handed over for another base, and
    :class:`NotFoundError`.
    """
    refuse_same(base, out)
    archive.refs.refuse_twin(out.repo)
    revision = archive.revision(base.repo, base.ref)
    require_revision(archive, Action.RUN, revision)
    job = Handover.read(folder)
    if job is not None:
        folder /= ADAPTER
        if job.base.manifest != revision.digest:
            raise UsageError(
                f"{folder.parent} was handed over for {job.base.repo} with the manifest "
                f"{job.base.manifest.short}…, and not {revision.digest.short}…"
            )
    config, adapter = _read(folder)
    rows = None if data is None else read_rows(data).digest
    if job is not None and rows not in (None, job.data):
        raise UsageError(f"{folder.parent} was handed over with other data than {data}")
    place = archive.layout.home / FOLDER
    with disk.reporting(place):
        disk.make_dir(place)
        with tempfile.TemporaryDirectory(dir=place, prefix="take-") as made:
            shutil.copyfile(folder / WEIGHTS, Path(made) / WEIGHTS)
            write_small(Path(made) / CONFIG, _renamed(config, revision))
            record = _record(revision, adapter, rows)
            if job is not None:
                record = _trained(record, job, read_metrics(folder))
            added = archive_made(archive, Path(made), out, record, control=control)
    return Tuned(None, record, added)


def _read(folder: Path) -> tuple[bytes, LoraAdapter]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise NotFoundError(
                f"no {name} in {folder}", hint="--take names a folder that PEFT wrote"
            )
    with disk.reporting(folder):
        config = disk.read_plain(folder / CONFIG, MAX_CONFIG + 1)
        if config is None or len(config) > MAX_CONFIG:
            raise MalformedError(f"{CONFIG} is no plain file of at most {MAX_CONFIG} bytes")
        with open(folder / WEIGHTS, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            container = container_of(OpenFile(file.fileno(), size), size)
    if container is None or container.kind != "safetensors":
        raise MalformedError(f"{folder / WEIGHTS} is no safetensors file")
    return config, read_adapter(config, container.tensors)


def _renamed(config: bytes, base: Revision) -> bytes:
    said = load_json(config, MAX_CONFIG)
    commit = None if base.commit is None else base.commit.hex
    said |= {"base_model_name_or_path": base.repo.name, "revision": commit}
    return json.dumps(said, indent=2, sort_keys=True).encode() + b"\n"


def _trained(record: LineageRecord, job: Handover, told: ToldMetrics) -> LineageRecord:
    """The record of a training that was handed over: what it was told, and what it says."""
    return replace(
        record,
        data=job.data,
        tokenizer=told.tokenizer,
        template=told.template,
        parameters={**job.options.parameters(), "engine": job.engine, "taken": True},
        versions={**told.versions, **record.versions},
        metrics={**told.metrics, **record.metrics},
        seed=job.options.seed,
    )


def _record(base: Revision, adapter: LoraAdapter, data: Digest | None) -> LineageRecord:
    ranks = sorted(set(adapter.modules.values()))
    return LineageRecord(
        Making.ADAPTER,
        (MadeFrom(base.repo, base.digest, base.commit),),
        data=data,
        parameters={"rank": ranks[-1], "taken": True},
        versions={"outlast": __version__},
        metrics={"modules": len(adapter.modules)},
    )
