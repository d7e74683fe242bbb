"""``outlast catalogue follow | sync | unfollow``."""

from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.digest import Digest
from outlast.core.errors import (
    CatalogueRefusedError,
    NotFoundError,
    OutlastError,
    TransientError,
    UsageError,
    one_line,
)
from outlast.core.sizes import human_size
from outlast.features.trust.catalogue.commands import shared
from outlast.features.trust.catalogue.commands.documents import (
    CatalogueSyncedDocument,
    UnfollowedDocument,
)
from outlast.features.trust.catalogue.folders import (
    FollowRecord,
    RootPin,
    followed_names,
    read_record,
    read_small,
)
from outlast.features.trust.catalogue.making.making import NAME
from outlast.features.trust.catalogue.names import metadata_path
from outlast.features.trust.catalogue.places import (
    BUNDLED,
    CataloguePlace,
    open_brought,
    open_place,
)
from outlast.features.trust.catalogue.reading import read_root
from outlast.features.trust.catalogue.sync import Synced, follow, sync, unfollow
from outlast.features.trust.catalogue.trusted import ROOT
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.sources.http import HttpClient
from outlast.store.evidence.catalogues import brought_names

_SHOWN = 10
_DHT = "dht"


@click.command(
    "follow",
    epilog="""\b
Examples:
  outlast catalogue follow https://models.example/catalogue --root 1.root.json
  outlast catalogue follow http://10.0.0.7:8090/catalogue/acme --root 4d6f…
  outlast catalogue follow /media/disk/catalogue --as acme
  outlast catalogue follow bundle:acme --root 4d6f…

\b
Exit status:
  0 followed, and current · 2 usage · 3 no catalogue there · 4 refused · 5 transient, or stale · 7
  another one has this name · 8 storage
""",
)
@click.argument("place", metavar="URL|FOLDER|bundle:NAME")
@click.option(
    "--root",
    metavar="FILE|SHA256",
    help="The root that you trust: its file, or the file's sha256 in 64 hex digits",
)
@click.option("--as", "name", help="Its name here  [default: the one that its operator gave it]")
@click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing")
@common
@shared.needs_library
def follow_(
    *,
    place: str,
    root: str | None,
    name: str | None,
    dry_run: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Follow the catalogue at a URL, in a folder or that a bundle brought, and sync it.

    --root says which catalogue you mean: its operator tells the root's file or its sha256. Without
    it, the root that the place answers now is trusted on first use; that is shown for as long as
    the catalogue is followed. From then on, only a root that the keys of the one before have signed
    replaces it.
    """
    with (
        session(home, as_json=as_json, quiet=quiet) as run,
        HttpClient(run.config.http()) as http,
    ):
        if not dry_run:
            run.archive(create=True).close()
        where = open_place(http, place, run.config.home)
        given = _given(where, root)
        first = given if given is not None else where.read(metadata_path(ROOT, 1), TUNING.root)
        record = follow(
            run.config.home,
            name or _own_name(first),
            where,
            given,
            shared.now(),
            dry_run=dry_run,
        )
        if record.pinned is RootPin.FIRST_USE:
            run.say(f"trusted on first use: the root with the sha256 {record.root}")
            run.say("compare that with what the operator says; nothing else proves it")
        if dry_run:
            run.say(f"would follow {record.place} as {record.name}")
            return 0
        return _sync(run, record.name, where)


def _given(place: CataloguePlace, root: str | None) -> bytes | None:
    """The root that the user trusts. Raises :class:`NotFoundError`, and
    :class:`CatalogueRefusedError` where the place has another one.
    """
    if root is None:
        return None
    if Digest.is_valid(root.lower()):
        data = place.read(metadata_path(ROOT, 1), TUNING.root)
        if Digest.of(data) != Digest(root.lower()):
            raise CatalogueRefusedError(
                f"{place.name} has another root: its sha256 is {Digest.of(data)}",
                hint="ask the catalogue's operator which one is right",
            )
        return data
    found = read_small(Path(root), TUNING.root)
    if found is None:
        raise NotFoundError(f"no root at {root}", hint="give a file, or 64 hex digits")
    return found


def _own_name(root: bytes) -> str:
    name = read_root(root, TUNING.root).signed.unrecognized_fields.get(NAME)
    if not isinstance(name, str):
        raise UsageError("this catalogue has no name of its own", hint="give it one with --as")
    return name


@click.command(
    "sync",
    epilog="""\b
Examples:
  outlast catalogue sync
  outlast catalogue sync acme --json
  outlast catalogue sync acme --from /media/usb/catalogues/acme

\b
Exit status:
  0 all are current · 3 not followed · 4 one was refused · 5 one could not be reached, or is stale ·
  8 storage; the worst of them, in the order 8, 4, 3, 5
""",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--from",
    "from_",
    metavar="URL|FOLDER|bundle:NAME|dht",
    help="Read it there, this once, or where the DHT says; what proves it is the same",
)
@common
@shared.needs_library
def sync_(
    *, names: tuple[str, ...], from_: str | None, home: str | None, as_json: bool, quiet: bool
) -> int:
    """Fetch what is new in the catalogues NAME, or in all that are followed.

    What is fetched is verified as a whole before it takes the place of what is here; versions never
    go back. A catalogue that cannot be reached, or that answers wrongly, leaves the state here as
    it was: it can be used on, and is stale once it has expired. Where its own place cannot be
    reached, what a bundle brought of it is read.
    """
    if from_ is not None and len(names) != 1:
        raise UsageError("--from is the place of one catalogue", hint="name that one")
    with (
        session(home, as_json=as_json, quiet=quiet) as run,
        HttpClient(run.config.http()) as http,
    ):
        known = followed_names(run.config.home)
        if not known and not names:
            raise NotFoundError(
                "no catalogue is followed", hint="'outlast catalogue follow URL' follows one"
            )
        worst: OutlastError | None = None
        status = 0
        for name in names or known:
            run.control.cancel.check()
            try:
                record = read_record(run.config.home, name)
                status = max(status, _sync_from(run, http, record, from_))
            except OutlastError as error:
                run.control.cancel.check()
                if len(names or known) == 1:
                    raise
                run.say(one_line(f"{name}: {error}"))
                worst = _worse(worst, error)
        if worst is not None:
            raise worst
        return status


def _sync_from(run: Session, http: HttpClient, record: FollowRecord, place: str | None) -> int:
    """Syncs one from where the user says, else from its own place, else from what a bundle brought;
    the exit status.
    """
    home, name = run.config.home, record.name
    if place == _DHT:
        from outlast.features.trust.catalogue.commands.announce import (  # noqa: PLC0415 - libtorrent
            find_newest,
        )

        found = find_newest(run, http, record)
        run.say(f"the DHT names {found.name}")
        return _sync(run, name, found)
    try:
        return _sync(run, name, open_place(http, place or record.place, home))
    except (TransientError, NotFoundError, CatalogueRefusedError) as error:
        run.control.cancel.check()
        wrong = isinstance(error, CatalogueRefusedError)
        absent = not wrong or isinstance(error.__cause__, NotFoundError)
        is_own = place is not None or record.place.startswith(BUNDLED)
        if not absent or is_own or name not in brought_names(home):
            raise
        run.say(one_line(f"{record.place}: {error}; reading what a bundle brought"))
        return _sync(run, name, open_brought(home, name))


def _worse(one: OutlastError | None, other: OutlastError) -> OutlastError:
    order = (8, 4, 3, 7, 2, 5)
    found = [error for error in (one, other) if error is not None]
    return min(found, key=lambda e: order.index(e.exit_code) if e.exit_code in order else 9)


def _sync(run: Session, name: str, place: CataloguePlace) -> int:
    """Syncs one; the exit status."""
    done = sync(run.config.home, name, place, shared.now(), cancel=run.control.cancel)
    if run.as_json:
        print_document(_document(done))
    else:
        _print(run, done)
    return 0 if done.freshness.is_current else TransientError.exit_code


def _print(run: Session, done: Synced) -> None:
    record = done.record
    print(
        f"{record.name}{record.label}: version {done.version}, "
        f"{plural(done.entries, 'revision')}, {done.freshness.text}"
    )
    if done.root_version != done.root_before:
        run.say(
            f"  its root was replaced by its own keys: {done.root_before} → {done.root_version}"
        )
    for mark, paths in (("+", done.added), ("-", done.removed)):
        for path in paths[:_SHOWN]:
            run.say(f"  {mark} {path}")
        if len(paths) > _SHOWN:
            run.say(f"  {mark} and {len(paths) - _SHOWN} more")
    for text in done.refused[:_SHOWN]:
        run.say(one_line(f"  refused: {text}"))
    run.say(f"  {human_size(done.received)} received")


def _document(done: Synced) -> CatalogueSyncedDocument:
    record = done.record
    return CatalogueSyncedDocument(
        catalogue=record.name,
        place=record.place,
        pinned=record.pinned.value,
        root_sha256=record.root,
        root_version=done.root_version,
        version=done.version,
        changed=done.changed,
        current=done.freshness.is_current,
        stale_since=shared.iso(done.freshness.since),
        received_bytes=done.received,
        entries=done.entries,
        added=done.added,
        removed=done.removed,
        refused=done.refused,
    )


@click.command(
    "unfollow",
    epilog="""\b
Examples:
  outlast catalogue unfollow acme

\b
Exit status:
  0 done · 3 not followed · 8 storage
""",
)
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing")
@common
@shared.needs_library
def unfollow_(*, name: str, dry_run: bool, home: str | None, as_json: bool, quiet: bool) -> None:
    """Follow the catalogue NAME no more: what is here of it goes, and with it which root was
    trusted. Models that were pulled stay.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        record = unfollow(run.config.home, name, dry_run=dry_run)
        if run.as_json:
            print_document(UnfollowedDocument(catalogue=record.name, dry_run=dry_run))
            return
        would = "would follow" if dry_run else "following"
        print(f"{would} {record.name} ({record.place}) no more")
