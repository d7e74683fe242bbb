"""Run with an adapter: find the base that it was made for, check both, and prepare its weights."""

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from outlast.codec.memory import read
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    CorruptError,
    EngineError,
    MalformedError,
    NotArchivedError,
    UsageError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RunTarget, Target
from outlast.core.policy import Action
from outlast.core.records.lineage import LineageRecord, MadeFrom, Making
from outlast.engines.adapters import CONFIG, MAX_CONFIG, WEIGHTS, LoraAdapter, read_adapter
from outlast.intake.form_policy import container_of
from outlast.intake.judging import allowed
from outlast.intake.vouched import FindAssessor, require_vouched
from outlast.intake.working_copies import Working
from outlast.store.archive import Archive
from outlast.store.records.lineage import lineage_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadyAdapter:
    """An adapter whose weights are checked and lie at `path`. Close it."""

    revision: Revision
    adapter: LoraAdapter
    path: Path
    working: Working

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.working.close()


def is_adapter(revision: Revision) -> bool:
    """Whether a revision is a LoRA, and no model with one beside it."""
    return {CONFIG, WEIGHTS} <= revision.paths and "config.json" not in revision.paths


def resolve(archive: Archive, target: RunTarget) -> RunTarget:
    """`target` with the base before it, where it names an adapter alone. Raises
    :class:`NotArchivedError` where the base is not here, with the command that fetches it.
    """
    if target.adapter is not None:
        return target
    revision = archive.revision(target.model.repo, target.model.ref)
    if not is_adapter(revision):
        return target
    return RunTarget(base_of(archive, revision), target.model)


def base_of(archive: Archive, revision: Revision) -> Target:
    """The revision that an adapter was made for: by its record, else by the name in its
    configuration. Raises :class:`NotArchivedError`.
    """
    record = lineage_of(archive, revision)
    if record is not None:
        return _held(archive, record.base)
    named = _adapter_of(archive, revision).base
    if named is None:
        raise EngineError(
            f"{revision.repo} is an adapter, and does not say of which base",
            hint=f"outlast run org/base+{revision.repo}",
        )
    if not archive.commits(named):
        raise NotArchivedError(f"the base {named} is not archived", hint=f"outlast pull {named}")
    return Target(named, None)


def missing_base(archive: Archive, revision: Revision) -> Target | None:
    """Where the base of an adapter is to be had, if it is not here; None where it is, or none is
    known. Raises what reading the adapter does.
    """
    if not is_adapter(revision):
        return None
    record = lineage_of(archive, revision)
    if record is not None:
        here = archive.layout.manifest(record.base.manifest).exists()
        return None if here else _wanted(record.base)
    named = _adapter_of(archive, revision).base
    return None if named is None or archive.commits(named) else Target(named, None)


def prepare_adapter(
    archive: Archive,
    target: Target,
    base: Revision,
    *,
    any_base: bool,
    budget: int | None,
    assessor: FindAssessor = lambda: None,
    control: Control,
) -> ReadyAdapter:
    """Checks an adapter and prepares its weights. Raises :class:`UsageError` where it was made for
    another base, unless `any_base`; what :func:`read_adapter` does;
    :class:`~outlast.core.errors.RevokedError`; what the archive's rules raise; and what
    :func:`~outlast.ops.run.prepare` does where nothing speaks for the adapter.
    """
    revision = archive.revision(target.repo, target.ref)
    verdict = allowed(archive, Action.RUN, revision)
    archive.revocations.refuse(revision)
    if not verdict.weighs_claims:
        require_vouched(archive, revision, shlex.quote(str(target)), assessor)
    if not is_adapter(revision):
        raise UsageError(
            f"{target} is no adapter with {CONFIG} and {WEIGHTS}",
            hint="write org/base+org/adapter; pickled adapters are never loaded",
        )
    adapter = _adapter_of(archive, revision)
    if not any_base:
        _require_made_for(archive, revision, adapter, base)
    working = Working(archive, budget, control)
    try:
        entry = _entry(archive, revision, WEIGHTS)
        working.prepare([entry])
        return ReadyAdapter(revision, adapter, working.path(entry), working)
    except BaseException:
        working.close()
        raise


def _require_made_for(
    archive: Archive, revision: Revision, adapter: LoraAdapter, base: Revision
) -> None:
    record = lineage_of(archive, revision)
    if record is None:
        if adapter.base is not None and adapter.base.folded != base.repo.folded:
            raise UsageError(
                f"{revision.repo} says that it was made for {adapter.base}, not {base.repo}",
                hint="--any-base runs it all the same",
            )
        return
    if adapter.base is not None and adapter.base.folded != record.base.repo.folded:
        raise MalformedError(
            f"{revision.repo}: {CONFIG} names {adapter.base} as the base, "
            f"and its record {record.base.repo}"
        )
    wanted = record.base.manifest
    if wanted != base.digest and not _is_converted(lineage_of(archive, base), wanted):
        raise UsageError(
            f"{revision.repo} was made for {record.base.repo} with the manifest {wanted.short}…, "
            f"and not {base.digest.short}…",
            hint="--any-base runs it all the same",
        )


def _is_converted(record: LineageRecord | None, manifest: Digest) -> bool:
    return (
        record is not None
        and record.making is Making.CONVERSION
        and record.base.manifest == manifest
    )


def _held(archive: Archive, base: MadeFrom) -> Target:
    for commit in archive.commits(base.repo):
        if base.manifest in archive.index.manifests_of(base.repo, commit):
            return Target(base.repo, commit.hex)
    raise NotArchivedError(
        f"the base {base.repo} with the manifest {base.manifest.short}… is not archived",
        hint=f"outlast pull {_wanted(base)}",
    )


def _wanted(base: MadeFrom) -> Target:
    """By its commit; of what was added from a folder that is the start of the manifest's digest."""
    return Target(base.repo, base.manifest.hex[:40] if base.commit is None else base.commit.hex)


def _adapter_of(archive: Archive, revision: Revision) -> LoraAdapter:
    config = _entry(archive, revision, CONFIG)
    if config.size > MAX_CONFIG:
        raise MalformedError(f"{CONFIG} exceeds {MAX_CONFIG} bytes")
    assert config.sha256 is not None
    with archive.open_blob(config.sha256) as blob:
        data = read(blob, 0, blob.size)
    if Digest.of(data) != config.sha256:
        raise CorruptError(f"{CONFIG} of {revision.repo} is damaged")
    weights = _entry(archive, revision, WEIGHTS)
    assert weights.sha256 is not None
    with archive.open_blob(weights.sha256) as blob:
        container = container_of(blob, blob.size)
    if container is None or container.kind != "safetensors":
        raise MalformedError(f"{WEIGHTS} of {revision.repo} is no safetensors file")
    return read_adapter(data, container.tensors)


def _entry(archive: Archive, revision: Revision, path: str) -> FileEntry:
    entry = revision.find(path)
    if entry is None or not archive.lies_here(entry):
        raise NotArchivedError(f"{path} of {revision.repo} is not archived")
    return entry
