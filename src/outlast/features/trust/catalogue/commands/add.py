"""``outlast catalogue add``."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import click

from outlast.cli.config.values import check_source
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import MalformedError, NotFoundError, UsageError
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.features.trust.catalogue.commands import shared
from outlast.features.trust.catalogue.commands.documents import StagedDocument
from outlast.features.trust.catalogue.entries import CatalogueEntry, check_sources
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.making.publish import locked
from outlast.features.trust.catalogue.making.staging import (
    Staged,
    name_of,
    put_manifest,
    read_staged,
    write_staged,
)
from outlast.intake.told_alone import is_told_alone, refuse_told_alone, refuse_told_ref
from outlast.store.archive import Archive

_MAIN = "main"


@dataclass(frozen=True, slots=True)
class _KnownRevision:
    """The entries of a catalogue, published or staged, by their paths."""

    entries: dict[str, CatalogueEntry]

    def next_sequence(self, revision: Revision) -> int:
        """The sequence for a revision: its own if it is there already, else one more than all."""
        repo = revision.repo.folded
        same = [e for e in self.entries.values() if e.name.repo.folded == repo]
        return max((entry.sequence for entry in same), default=0) + 1


@click.command(
    epilog="""\b
Examples:
  outlast catalogue add acme Qwen/Qwen3-0.6B --source https://huggingface.co
  outlast catalogue add acme --all
  outlast catalogue add acme Qwen/Qwen3-0.6B@v1 --remove

\b
Exit status:
  0 staged · 2 usage · 3 not archived, or no such catalogue · 8 storage
"""
)
@click.argument("name")
@click.argument("targets", nargs=-1, type=TARGET)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All complete revisions of the archive that are neither private nor gated, nor the word "
    "of a node on the LAN alone",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Where the files may be: URL of a hub, or KIND+URL (repeatable)",
)
@click.option("--remove", is_flag=True, help="List these revisions no more")
@click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing")
@shared.folder_option
@common
@shared.needs_library
def add(
    *,
    name: str,
    targets: tuple[Target, ...],
    everything: bool,
    sources: tuple[str, ...],
    remove: bool,
    dry_run: bool,
    folder: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Add archived revisions to what 'catalogue publish' lists next in the catalogue NAME.

    What is listed is the manifest: the list of the revision's files by digest. Its sequence is one
    more than those of the model's other revisions in the catalogue, so that followers know the
    newest. A revision that is listed already is listed anew, if its manifest has changed.
    """
    if everything == bool(targets):
        raise UsageError("name models, or all of them with --all")
    if everything and remove:
        raise UsageError("--all does not go with --remove", hint="name what is to be removed")
    try:
        found = check_sources(tuple(check_source(text) for text in sources))
    except MalformedError as error:
        raise UsageError(str(error)) from None
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        where = shared.folder_of(run, name, folder)
        with locked(where) if where.exists() else _no_catalogue(where):
            own = read_own(where, shared.now())
            staged = read_staged(where)
            known = _KnownRevision({e.name.path: e for e in own.entries()} | staged.added)
            revisions = _revisions(archive, targets, everything=everything, listed=not remove)
            count = 0
            for revision in revisions:
                run.control.cancel.check()
                if remove:
                    entry = _removed(staged, known, revision)
                else:
                    entry = _added(archive, where, known, revision, found, dry_run=dry_run)
                    if known.entries.get(entry.name.path) == entry and not remove:
                        continue
                    staged.add(entry)
                    known.entries[entry.name.path] = entry
                count += 1
                if run.as_json:
                    print_document(_document(name, entry, removed=remove, dry_run=dry_run))
            if not dry_run:
                write_staged(where, staged)
        _say(run, name, count, remove=remove, dry_run=dry_run)


def _no_catalogue(where: Path) -> AbstractContextManager[None]:
    raise NotFoundError(f"no catalogue in {where}", hint="'outlast catalogue init' makes one")


def _revisions(
    archive: Archive, targets: Iterable[Target], *, everything: bool, listed: bool
) -> list[Revision]:
    """What was named, or all. What is to be `listed` is not the word of a stranger alone."""
    if not everything:
        named = [(target, archive.revision(target.repo, target.ref)) for target in targets]
        for target, revision in named if listed else ():
            refuse_told_alone(archive, revision)
            refuse_told_ref(archive, revision.repo, target.ref or _MAIN)
        return [revision for _, revision in named]
    found = []
    for summary in archive.summaries():
        about = archive.refs.about(summary.repo)
        is_whole = summary.digest is not None and not summary.partial
        if is_whole and about.is_open and not about.is_stopped:
            revision = archive.revision(summary.repo, summary.revision.hex)
            if not is_told_alone(archive, revision):
                found.append(revision)
    return found


def _added(
    archive: Archive,
    where: Path,
    known: _KnownRevision,
    revision: Revision,
    sources: tuple[str, ...],
    *,
    dry_run: bool,
) -> CatalogueEntry:
    name, digest = name_of(revision), revision.digest
    old = known.entries.get(name.path)
    length = len(revision.to_bytes())
    if not dry_run:
        length = put_manifest(where, archive, digest, name)
    sequence = known.next_sequence(revision)
    if old is not None and old.manifest == digest:
        sequence = old.sequence
    about = archive.refs.about(revision.repo)
    return CatalogueEntry(
        name,
        digest,
        length,
        sequence,
        len(revision.files),
        revision.size,
        sources or (() if old is None else old.sources),
        restricted=not about.is_open,
    )


def _removed(staged: Staged, known: _KnownRevision, revision: Revision) -> CatalogueEntry:
    name = name_of(revision)
    entry = known.entries.get(name.path)
    if entry is None:
        raise NotFoundError(
            f"{name.path} is not listed", hint="'outlast catalogue ls' says what is"
        )
    staged.remove(name.path)
    return entry


def _document(
    catalogue: str, entry: CatalogueEntry, *, removed: bool, dry_run: bool
) -> StagedDocument:
    return StagedDocument(
        catalogue=catalogue,
        repo=entry.name.repo,
        revision=entry.name.revision,
        manifest=entry.manifest,
        sequence=entry.sequence,
        removed=removed,
        dry_run=dry_run,
    )


def _say(run: Session, name: str, count: int, *, remove: bool, dry_run: bool) -> None:
    if run.as_json:
        return
    done = "would be " * dry_run + ("removed" if remove else "added")
    print(f"{plural(count, 'revision')} {done}; 'outlast catalogue publish {name}' publishes that")
