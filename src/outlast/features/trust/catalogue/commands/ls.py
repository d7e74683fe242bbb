"""``outlast catalogue ls``."""

from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.errors import NotFoundError, OutlastError, one_line
from outlast.core.sizes import human_size
from outlast.features.trust.catalogue.clock import Freshness
from outlast.features.trust.catalogue.commands import shared
from outlast.features.trust.catalogue.commands.documents import CatalogueDocument, EntryDocument
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.folders import (
    followed_names,
    own_folder,
    own_names,
    read_record,
)
from outlast.features.trust.catalogue.making.own import OwnCatalogue, read_own
from outlast.features.trust.catalogue.using.opened import OpenCatalogue


@click.command(
    epilog="""\b
Examples:
  outlast catalogue ls
  outlast catalogue ls acme --json

\b
Exit status:
  0 done · 3 no such catalogue · 4 it is damaged here · 8 storage
"""
)
@click.argument("name", required=False)
@common
@shared.needs_library
def ls(*, name: str | None, home: str | None, as_json: bool, quiet: bool) -> None:
    """List the catalogues that this archive follows, and those that are made here; or what the
    catalogue NAME lists.

    One is current, or stale since the first of its parts has expired: then it may be that newer
    revisions are listed by now, or that some are listed no more.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        if name is not None:
            _entries(run, name)
            return
        found = [_followed(run.config.home, one) for one in followed_names(run.config.home)]
        found += [_own(run.config.home, one) for one in own_names(run.config.home)]
        if run.as_json:
            for document in found:
                print_document(document)
            return
        if found:
            head = ("CATALOGUE", "REVISIONS", "STATE", "ROOT", "PLACE")
            print_table([head, *map(_row, found)], right=(1,))
        for document in found:
            if document.problem:
                run.say(one_line(f"{document.catalogue}: {document.problem}"))
        run.say(plural(len(found), "catalogue"))


def _row(document: CatalogueDocument) -> tuple[str, ...]:
    state = "current" if document.current else f"stale since {document.stale_since}"
    if document.problem:
        state = "cannot be used"
    pinned = {"given": "given", "first-use": "trusted on first use", None: "made here"}
    return (
        document.catalogue,
        f"{document.entries:,}",
        state,
        pinned[document.pinned],
        one_line(document.place),
    )


def _followed(home: Path, name: str) -> CatalogueDocument:
    try:
        record = read_record(home, name)
    except OutlastError as error:
        return _broken(name, "", str(error))
    problem, version, entries, fresh, synced = "", 0, 0, Freshness(record.since), None
    try:
        opened = OpenCatalogue(home, name, shared.now())
    except OutlastError as error:
        problem = str(error)
    else:
        version, entries = opened.version, opened.index.count
        fresh, synced = opened.freshness, opened.synced
    return CatalogueDocument(
        catalogue=name,
        own=False,
        place=record.place,
        pinned=record.pinned.value,
        root_sha256=record.root,
        current=fresh.is_current and not problem,
        stale_since=shared.iso(fresh.since),
        synced=shared.iso(synced),
        version=version,
        entries=entries,
        problem=problem,
    )


def _own(home: Path, name: str) -> CatalogueDocument:
    folder = own_folder(home, name)
    try:
        own = read_own(folder, shared.now())
    except OutlastError as error:
        return _broken(name, str(folder), str(error))
    fresh = _fresh(own)
    snapshot = own.trusted.snapshot
    return CatalogueDocument(
        catalogue=name,
        own=True,
        place=str(folder),
        pinned=None,
        root_sha256=None,
        current=fresh.is_current,
        stale_since=shared.iso(fresh.since),
        synced=None,
        version=0 if snapshot is None else snapshot.version,
        entries=len(own.entries()),
        problem="",
    )


def _fresh(own: OwnCatalogue) -> Freshness:
    expires = min([own.trusted.expires, *(targets.expires for _, targets in own.lists.values())])
    return Freshness(expires) if expires <= shared.now() else Freshness()


def _broken(name: str, place: str, problem: str) -> CatalogueDocument:
    return CatalogueDocument(
        catalogue=name,
        own=bool(place),
        place=place,
        pinned=None,
        root_sha256=None,
        current=False,
        stale_since=None,
        synced=None,
        version=0,
        entries=0,
        problem=problem,
    )


def _entries(run: Session, name: str) -> None:
    home = run.config.home
    if name in followed_names(home):
        opened = OpenCatalogue(home, name, shared.now())
        found = [(one.entry, one.freshness) for one in opened.all()]
        text = f"{name}{opened.record.label}: {opened.freshness.text}"
    elif name in own_names(home):
        own = read_own(own_folder(home, name), shared.now())
        found = [(entry, _fresh(own)) for entry in own.entries()]
        text = f"{name}: made here, {_fresh(own).text}"
    else:
        raise NotFoundError(
            f"no catalogue {name!r} is followed or made here",
            hint="'outlast catalogue ls' lists them",
        )
    found.sort(key=lambda one: (one[0].name.repo, one[0].sequence))
    if run.as_json:
        for entry, fresh in found:
            print_document(_document(name, entry, fresh))
        return
    head = ("MODEL", "REVISION", "SEQUENCE", "FILES", "SIZE", "SOURCES")
    rows = [
        (
            str(entry.name.repo),
            entry.name.revision.hex[:12],
            str(entry.sequence),
            f"{entry.files:,}",
            human_size(entry.size),
            one_line(", ".join(entry.sources), 120) or "-",
        )
        for entry, _ in found
    ]
    if rows:
        print_table([head, *rows], right=(2, 3, 4))
    run.say(f"{text}, {plural(len(found), 'revision')}")


def _document(name: str, entry: CatalogueEntry, fresh: Freshness) -> EntryDocument:
    return EntryDocument(
        catalogue=name,
        repo=entry.name.repo,
        revision=entry.name.revision,
        manifest=entry.manifest,
        sequence=entry.sequence,
        files=entry.files,
        bytes=entry.size,
        sources=entry.sources,
        torrent=entry.torrent,
        current=fresh.is_current,
        stale_since=shared.iso(fresh.since),
    )
