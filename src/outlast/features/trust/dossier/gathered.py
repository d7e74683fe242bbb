"""Gathers what a dossier says, from the records of an archive. No hub is asked, and no file is read
but small ones, heads of files for pickles, and the engine's own.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outlast.core.manifest import Revision
from outlast.features.trust.bom.described import DescribedModel
from outlast.features.trust.bom.facts import Describing
from outlast.features.trust.dossier.engine import EnginePackage, engine_packages
from outlast.features.trust.screening.screening_log import ScreeningLog
from outlast.intake.formats.chat_templates import ChatTemplate, templates_of
from outlast.intake.formats.unsafe import Unsafe
from outlast.intake.formats.withheld import unsafe_files
from outlast.ops.words.code import CodeState, code_state
from outlast.store.archive import Archive
from outlast.store.records.logs.sealed_runs import SealedRun, SealedRuns
from outlast.store.records.refs import Ref


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that a page says. `unsafe` are files that are pickles, by path; `runs` are sealed runs,
    the oldest first; `screening` is the newest line of the log about this commit; `code`: whether
    its Python files may run.
    """

    model: DescribedModel
    made: str
    refs: Sequence[Ref]
    unsafe: Mapping[str, Unsafe]
    templates: Sequence[ChatTemplate]
    runs: Sequence[SealedRun]
    engine: Sequence[EnginePackage]
    screening: Mapping[str, Any] | None
    code: CodeState

    @property
    def revision(self) -> Revision:
        return self.model.revision


def gather(
    archive: Archive, describing: Describing, revision: Revision, now: dt.datetime
) -> Dossier:
    """Raises what reading raises."""
    drafted = archive.drafts.exists(revision.repo, revision.id)
    manifest = None if drafted else revision.digest
    here = [entry for entry in revision.files if archive.lies_here(entry)]
    return Dossier(
        model=describing.describe(revision, manifest),
        made=now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        refs=[ref for ref in archive.refs.list(revision.repo) if ref.commit == revision.id],
        unsafe=unsafe_files(archive, here),
        templates=templates_of(archive, revision),
        runs=list(SealedRuns(archive.layout.home).of(revision.digest)),
        engine=list(engine_packages()),
        screening=_newest_screening(archive, revision),
        code=code_state(archive, revision),
    )


def _newest_screening(archive: Archive, revision: Revision) -> Mapping[str, Any] | None:
    newest = None
    for line in ScreeningLog(archive.layout.home).read():
        if line.get("repo") == str(revision.repo) and line.get("commit") == revision.id.hex:
            newest = line
    return newest
