"""The base of a tuning in the archive: which of its files, checked and ready to be loaded."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from outlast.core.control import Control
from outlast.core.errors import EngineError, UsageError
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.core.records.lineage import AncestorRole, MadeFrom, WeightsForm
from outlast.engines.choose import LLAMA, TRANSFORMERS, EngineName, choose
from outlast.features.tune.work.names import GGUF
from outlast.ops import run as run_ops
from outlast.store.archive import Archive

_FOLDER: Final = "model"


@dataclass(frozen=True, slots=True)
class TuneBase:
    """A base that is ready: `links` are its files under the names that a worker knows them by, of
    which `place` is the one to load. `gguf`: bytes of the file that is dequantised; 0 where the
    weights are floats. Close it.
    """

    prepared: run_ops.Prepared
    ancestor: MadeFrom
    links: dict[str, Path]
    place: str
    gguf: int = 0

    @property
    def revision(self) -> Revision:
        return self.prepared.revision

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.prepared.__exit__(kind, error, trace)


def open_base(
    archive: Archive,
    target: Target,
    *,
    wanted: str | None,
    budget: int | None,
    control: Control,
    role: AncestorRole = AncestorRole.BASE,
) -> TuneBase:
    """Checks the files of a base: its safetensors, or else a GGUF file. Raises what
    :func:`outlast.ops.run.prepare` does, and :class:`EngineError` for a GGUF file in parts.
    """
    revision = archive.revision(target.repo, target.ref)
    prepared = run_ops.prepare(
        archive,
        target,
        wanted=wanted,
        engine=_engine(archive, revision, wanted),
        recheck=False,
        budget=budget,
        control=control,
    )
    if prepared.choice.engine == TRANSFORMERS:
        assert prepared.folder is not None
        links, place, gguf = {_FOLDER: prepared.folder}, _FOLDER, 0
        form, file = WeightsForm.ORIGINAL, ""
    elif len(prepared.paths) == 1:
        links, place, gguf = {GGUF: prepared.paths[0]}, GGUF, prepared.choice.size
        form, file = WeightsForm.DEQUANTISED, prepared.choice.files[0]
    else:
        prepared.working.close()
        raise EngineError(
            f"{prepared.choice.files[0]} is one part of several, which cannot be tuned",
            hint="tune a version with safetensors, or with one GGUF file",
        )
    ancestor = MadeFrom(revision.repo, revision.digest, revision.commit, role, form, file)
    return TuneBase(prepared, ancestor, links, place, gguf)


def _engine(archive: Archive, revision: Revision, wanted: str | None) -> EngineName:
    """Safetensors first: they are what was published."""
    files = [(e.path, e.size) for e in revision.files if archive.lies_here(e)]
    try:
        choose(files, wanted, TRANSFORMERS)
    except EngineError as first:
        try:
            choose(files, wanted, LLAMA)
        except EngineError:
            raise first from None
        return LLAMA
    return TRANSFORMERS


def refuse_same(base: Target, out: Target) -> None:
    """An adapter is a model of its own: one name for both would lose the base's ref."""
    if base.repo.folded == out.repo.folded:
        raise UsageError(f"--out names the base itself: {out.repo}", hint="choose another name")
