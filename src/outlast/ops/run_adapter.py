"""Run with an adapter: find the base that it was made for, check both, and prepare its weights."""

import contextlib
import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from outlast.codec.claims import CutShortError, OpaqueError
from outlast.codec.gguf import read_header as read_gguf
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
from outlast.core.records.lineage import AncestorRole, LineageRecord, MadeFrom, Making
from outlast.engines.adapters import CONFIG, MAX_CONFIG, WEIGHTS, LoraAdapter, read_adapter
from outlast.engines.choose import LLAMA, TRANSFORMERS, EngineName
from outlast.intake.form_policy import container_of
from outlast.intake.judging import allowed
from outlast.intake.vouched import FindAssessor, require_vouched
from outlast.intake.working_copies import Working
from outlast.store.archive import Archive
from outlast.store.records.lineage import derivatives, lineage_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadyAdapter:
    """An adapter whose weights are checked and lie at `path`. `adapter` is what PEFT's files say,
    None for one in GGUF. `refs` are the names of its revision. Close it.
    """

    revision: Revision
    adapter: LoraAdapter | None
    path: Path
    working: Working
    refs: tuple[str, ...] = ()

    @property
    def engine(self) -> EngineName:
        """The one that reads it."""
        return LLAMA if self.adapter is None else TRANSFORMERS

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
    """Whether a revision is a LoRA of PEFT, and no model with one beside it."""
    return {CONFIG, WEIGHTS} <= revision.paths and "config.json" not in revision.paths


def gguf_adapter(archive: Archive, revision: Revision) -> FileEntry | None:
    """The file of a revision that is a LoRA in GGUF, and nothing else that runs; else None."""
    found = [e for e in revision.files if e.path.lower().endswith(".gguf")]
    if len(found) != 1 or found[0].sha256 is None or not archive.lies_here(found[0]):
        return None
    with archive.open_blob(found[0].sha256) as blob:
        try:
            header = read_gguf(lambda at, size: read(blob, at, size), blob.size)
        except (CutShortError, OpaqueError):
            return None
    kinds = header.values.get("general.type"), header.values.get("adapter.type")
    return found[0] if kinds == ("adapter", "lora") else None


def resolve(archive: Archive, target: RunTarget) -> RunTarget:
    """`target` with the base before it, where it names an adapter alone. Raises
    :class:`NotArchivedError` where the base is not here, with the command that fetches it.
    """
    if target.adapter is not None:
        return target
    revision = archive.revision(target.model.repo, target.model.ref)
    if not is_adapter(revision) and gguf_adapter(archive, revision) is None:
        return target
    return RunTarget(base_of(archive, revision), target.model)


def base_of(archive: Archive, revision: Revision) -> Target:
    """The revision that an adapter was made for: by its record, else by the name in its
    configuration. Raises :class:`NotArchivedError`.
    """
    record = lineage_of(archive, revision)
    made_from = None if record is None else _base_in(record)
    if made_from is not None:
        held = _held(archive, made_from)
        return held if is_adapter(revision) else _as_gguf(archive, held)
    if not is_adapter(revision):
        raise _unknown_base(revision)
    named = _adapter_of(archive, revision).base
    if named is None:
        raise _unknown_base(revision)
    if not archive.commits(named):
        raise NotArchivedError(f"the base {named} is not archived", hint=f"outlast pull {named}")
    return Target(named, None)


def _unknown_base(revision: Revision) -> EngineError:
    return EngineError(
        f"{revision.repo} is an adapter, and does not say of which base",
        hint=f"outlast run org/base+{revision.repo}",
    )


def _base_in(record: LineageRecord) -> MadeFrom | None:
    """The model that an adapter belongs to: of one that was converted, what it was converted from
    is an adapter too.
    """
    return next((one for one in record.ancestors if one.role is AncestorRole.BASE), None)


def _as_gguf(archive: Archive, base: Target) -> Target:
    """The base itself if it has a GGUF file, else a conversion of it that is here."""
    revision = archive.revision(base.repo, base.ref)
    if any(e.path.lower().endswith(".gguf") and archive.lies_here(e) for e in revision.files):
        return base
    for one in derivatives(archive, revision.digest):
        if one.record.making is Making.CONVERSION and one.record.base.manifest == revision.digest:
            converted = MadeFrom(one.repo, one.manifest, None)
            with contextlib.suppress(NotArchivedError):
                return _held(archive, converted)
    return base


def missing_base(archive: Archive, revision: Revision) -> Target | None:
    """Where the base of an adapter is to be had, if it is not here; None where it is, or none is
    known. Raises what reading the adapter does.
    """
    made_from = None
    if (record := lineage_of(archive, revision)) is not None:
        made_from = _base_in(record)
    if made_from is not None and (
        is_adapter(revision) or gguf_adapter(archive, revision) is not None
    ):
        here = archive.layout.manifest(made_from.manifest).exists()
        return None if here else _wanted(made_from)
    if not is_adapter(revision):
        return None
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
    entry = gguf_adapter(archive, revision)
    if entry is None and not is_adapter(revision):
        raise UsageError(
            f"{target} is no adapter with {CONFIG} and {WEIGHTS}",
            hint="write org/base+org/adapter; pickled adapters are never loaded",
        )
    adapter = _adapter_of(archive, revision) if entry is None else None
    if not any_base:
        _require_made_for(archive, revision, adapter, base)
    refs = [ref.name for ref in archive.refs.list(target.repo) if ref.commit == revision.id]
    working = Working(archive, budget, control)
    try:
        entry = entry or _entry(archive, revision, WEIGHTS)
        working.prepare([entry])
        place = working.path(entry)
        return ReadyAdapter(revision, adapter, place, working, (*refs, revision.id.hex))
    except BaseException:
        working.close()
        raise


def _require_made_for(
    archive: Archive, revision: Revision, adapter: LoraAdapter | None, base: Revision
) -> None:
    record = lineage_of(archive, revision)
    made_from = None if record is None else _base_in(record)
    if made_from is None:
        if adapter is None:
            raise UsageError(
                f"{revision.repo} does not say which base it was made for",
                hint="--any-base runs it all the same",
            )
        if adapter.base is not None and adapter.base.folded != base.repo.folded:
            raise UsageError(
                f"{revision.repo} says that it was made for {adapter.base}, not {base.repo}",
                hint="--any-base runs it all the same",
            )
        return
    if (
        adapter is not None
        and adapter.base is not None
        and adapter.base.folded != made_from.repo.folded
    ):
        raise MalformedError(
            f"{revision.repo}: {CONFIG} names {adapter.base} as the base, "
            f"and its record {made_from.repo}"
        )
    wanted = made_from.manifest
    if wanted != base.digest and not _is_converted(lineage_of(archive, base), wanted):
        raise UsageError(
            f"{revision.repo} was made for {made_from.repo} with the manifest {wanted.short}…, "
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
