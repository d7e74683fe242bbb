"""Follow a catalogue, sync it, and let go of it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import MetaFile

from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import (
    CatalogueRefusedError,
    NotFoundError,
    OutlastError,
    PolicyError,
)
from outlast.features.trust.catalogue.clock import Freshness, judge, seen_after
from outlast.features.trust.catalogue.folders import (
    MOST,
    FollowRecord,
    RootPin,
    followed_folder,
    followed_names,
    lock_file,
    own_names,
    read_record,
    write_record,
    write_small,
)
from outlast.features.trust.catalogue.index import (
    CatalogueIndex,
    IndexedList,
    read_index,
    write_index,
)
from outlast.features.trust.catalogue.listing import (
    entries_of,
    lists_of,
    publishers_of,
    roles_of,
    succinct,
)
from outlast.features.trust.catalogue.names import check_catalogue, metadata_path
from outlast.features.trust.catalogue.places import CataloguePlace
from outlast.features.trust.catalogue.state import FollowedState
from outlast.features.trust.catalogue.trusted import ROOT, TARGETS, TrustedSet
from outlast.features.trust.catalogue.tuning import TUNING, CatalogueTuning
from outlast.features.trust.catalogue.workflow import Workflow
from outlast.store import disk

FIRST_USE_HINT = "give its root with --root FILE, or --first-use to trust what it answers now"


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync brought: `received` bytes, the versions, and what the catalogue lists now."""

    record: FollowRecord
    freshness: Freshness
    version: int
    """Of the snapshot."""
    changed: bool
    root_before: int
    root_version: int
    received: int
    entries: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[str, ...] = field(default=())


def follow(
    home: Path,
    name: str,
    place: CataloguePlace,
    root: bytes | None,
    now: datetime,
    *,
    dry_run: bool = False,
) -> FollowRecord:
    """Begins to follow a catalogue, by the `root` that the user gave, or by the one that the place
    answers now. Nothing else is asked for yet. Raises :class:`PolicyError` where another catalogue
    has the name: a root that is trusted is replaced by none but its own successors.
    """
    check_catalogue(name)
    pinned = RootPin.FIRST_USE if root is None else RootPin.GIVEN
    data = place.read(metadata_path(ROOT, 1), TUNING.root) if root is None else root
    trusted = TrustedSet(data, now)
    record = FollowRecord(name, place.name, trusted.root.version, Digest.of(data), pinned, now)
    if name in own_names(home):
        raise PolicyError(
            f"a catalogue {name!r} is made here", hint="follow it under another name with --as"
        )
    if name in (names := followed_names(home)):
        known = read_record(home, name)
        if known.root != record.root or known.pinned is not record.pinned:
            raise PolicyError(
                f"a catalogue {name!r} with another root is followed already: it is not replaced",
                hint="--as gives this one another name; 'catalogue unfollow' lets go of that one",
            )
        record = FollowRecord(
            name, place.name, known.root_version, known.root, known.pinned, known.since
        )
    elif len(names) >= MOST:
        raise PolicyError(f"more than {MOST} catalogues are followed", hint="let go of some")
    if dry_run:
        return record
    with _locked(home):
        folder = followed_folder(home, name)
        write_small(folder / metadata_path(ROOT, record.root_version), data)
        write_record(home, record)
    return record


def unfollow(home: Path, name: str, *, dry_run: bool = False) -> FollowRecord:
    """Lets go of a catalogue; what was pulled stays. Raises :class:`NotFoundError`."""
    record = read_record(home, name)
    if not dry_run:
        with _locked(home):
            disk.remove_tree(followed_folder(home, name))
    return record


def sync(
    home: Path,
    name: str,
    place: CataloguePlace,
    now: datetime,
    *,
    cancel: Cancel | None = None,
    tuning: CatalogueTuning = TUNING,
) -> Synced:
    """Fetches what has changed of a followed catalogue. The state here stays as it was until all is
    fetched and verified. Raises :class:`CatalogueRefusedError`, and the errors of the place.
    """
    with _locked(home):
        state = FollowedState(home, read_record(home, name), tuning)
        before = state.timestamp
        trusted = state.trusted(now)
        root_before = trusted.root.version
        workflow = Workflow(place, state, trusted, tuning)
        index, old = CatalogueIndex(), read_index(state.folder)
        try:
            workflow.refresh()
            _fill(index, old, workflow, state, cancel)
        except NotFoundError as error:
            raise _lacking(error, place) from error
        assert trusted.snapshot is not None
        assert trusted.timestamp is not None
        newer = before is None or trusted.timestamp.version > before.version
        referred = [(one, meta.version) for one, meta in _lists_in(trusted)]
        state.commit([*referred, ("snapshot", trusted.snapshot.version)])
        if index.lists != old.lists:
            write_index(state.folder, index)
        state = FollowedState(home, state.record, tuning)
        expires = trusted.expires
        seen = seen_after(state.known(), expires, now, newer=newer, slack=tuning.clock_slack)
        if seen is not None and seen != state.known().seen:
            state.note_seen(seen)
        state.note_synced(now)
        paths, paths_before = _paths(index), _paths(old)
        return Synced(
            state.record,
            judge(expires, now, state.known(), tuning.clock_slack),
            trusted.snapshot.version,
            newer,
            root_before,
            trusted.root.version,
            workflow.received,
            index.count,
            tuple(sorted(paths - paths_before)),
            tuple(sorted(paths_before - paths)),
            tuple(index.refused),
        )


def _fill(
    index: CatalogueIndex,
    old: CatalogueIndex,
    workflow: Workflow,
    state: FollowedState,
    cancel: Cancel | None,
) -> None:
    """Reads all lists that are not indexed at their version and that of their delegator; those that
    are were verified then.
    """
    trusted, tuning = workflow.trusted, workflow.tuning
    roles = publishers_of(roles_of(trusted.targets))
    received = 0
    for where in lists_of(trusted.targets, workflow.load, trusted.has, tuning):
        if cancel is not None:
            cancel.check()
        meta = trusted.meta_of(where.name)
        above = trusted.meta_of(where.delegator)
        received += meta.length or 0
        known = old.lists.get(where.name)
        same = (meta.version, above.version, where.delegator)
        indexed = known is not None and same == (known.version, known.above, known.delegator)
        if known is not None and indexed and state.has(where.name, meta.version):
            index.lists[where.name] = known
        else:
            targets = workflow.load(where.name, where.delegator)
            bins = None
            if where.delegator != TARGETS:
                bins = succinct(workflow.load(where.delegator, TARGETS).delegations)
            found = entries_of(targets, where, roles, bins)
            paths = tuple(entry.name.path for entry in found.entries)
            index.lists[where.name] = IndexedList(*same, paths, found.refused)
        if index.count > tuning.entries or received > tuning.all_roles:
            raise CatalogueRefusedError(
                f"the catalogue lists more than {tuning.entries} revisions, or "
                f"{tuning.all_roles} bytes"
            )


def freshness_of(
    state: FollowedState, trusted: TrustedSet, now: datetime, *, newest_root: bool
) -> Freshness:
    """How fresh the state here is, of the catalogue as a whole."""
    found = judge(trusted.expires, now, state.known(), TUNING.clock_slack)
    if newest_root or not found.is_current:
        return found
    return Freshness(state.synced or state.record.since, "its root has changed since")


def _lists_in(trusted: TrustedSet) -> list[tuple[str, MetaFile]]:
    assert trusted.snapshot is not None
    return [(name.removesuffix(".json"), meta) for name, meta in trusted.snapshot.meta.items()]


def _paths(index: CatalogueIndex) -> set[str]:
    return {path for one in index.lists.values() for path in one.paths}


def _lacking(error: OutlastError, place: CataloguePlace) -> CatalogueRefusedError:
    return CatalogueRefusedError(f"{place.name} is not a whole catalogue: {error}")


def _locked(home: Path) -> AbstractContextManager[None]:
    path = lock_file(home)
    with disk.reporting(path):
        disk.make_dir(path.parent)
    return disk.locked(path, exclusive=True)
