"""What followed catalogues list, as a source of `pull`: which revision is the newest, its manifest,
and ranges of its files from the sources that the catalogue names.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    CatalogueRefusedError,
    EntryNotFoundError,
    IntegrityError,
    NotFoundError,
    OutlastError,
    RepoNotFoundError,
    RevisionNotFoundError,
    TransientError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, plain_ref
from outlast.core.offer import Offer
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.folders import read_small
from outlast.features.trust.catalogue.names import target_path
from outlast.features.trust.catalogue.places import (
    CataloguePlace,
    is_near,
    is_near_place,
    open_place,
)
from outlast.features.trust.catalogue.using.opened import (
    Clock,
    ListedEntry,
    OpenCatalogues,
    utc_now,
)
from outlast.sources.base import Listing, RangeReader, RemoteRef, RepoClaims, Source
from outlast.sources.http import HttpClient
from outlast.sources.kinds import open_source
from outlast.store.layout import Layout

_log = logging.getLogger(__name__)
_MAIN: Final = "main"
_MIN_PREFIX: Final = 7
"""Digits of a revision that name it."""


class CatalogueSource:
    """The catalogues that an archive follows, or the one `name`. Thread-safe. A model that several
    list is as the first one says: those that are current come first, then by name.
    """

    def __init__(
        self, home: Path, http: HttpClient, name: str = "", clock: Clock = utc_now
    ) -> None:
        self._home = home
        self._http = http
        self._name = name
        self._catalogues = OpenCatalogues(home, name, clock)
        self._lock = threading.Lock()
        self._from: dict[tuple[RepoId, GitOid], ListedEntry] = {}

    @property
    def name(self) -> str:
        return f"catalogue:{self._name}" if self._name else "catalogue"

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        """The revision that `ref` names: ``main`` is the one with the highest sequence."""
        del timeout
        found = self._listed(repo, plain_ref(ref))
        revision = self._manifest(found)
        with self._lock:
            self._from[revision.repo.folded, revision.id] = found
        facts = RepoClaims(private=found.entry.restricted, gated=False, tags=(), facts={})
        _log.info(
            "%s@%s is %s, as the catalogue %s says (%s)",
            repo,
            ref,
            revision.id.hex[:12],
            found.record.name,
            found.freshness.text,
        )
        return Listing(
            revision.repo,
            revision.id,
            (*revision.files, *revision.missing),
            facts,
            unlisted=revision.unlisted,
            held=frozenset(),
        )

    def refs(self, repo: RepoId, timeout: float | None = None) -> list[RemoteRef]:
        del timeout
        return [RemoteRef(_MAIN, self._listed(repo, _MAIN).entry.name.revision, "branches")]

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        """Asks the sources that the catalogue names, one after the other, without any token."""
        with self._lock:
            found = self._from.get((repo.folded, commit))
        if found is None:
            found = self._listed(repo, commit.hex)
        fault: OutlastError | None = None
        for source in self.sources(found):
            try:
                return source.open(repo, commit, entry, start, stop)
            except OutlastError as error:
                fault = fault or error
        raise fault or EntryNotFoundError(
            f"the catalogue {found.record.name} names no source of {repo}",
            hint="name one with --from; neighbours are asked too",
        )

    def sources(self, found: ListedEntry) -> list[Source]:
        """Those that an entry names. A catalogue that is read over the internet may not lead into
        this network.
        """
        near = is_near_place(found.record.place)
        allowed = [text for text in found.entry.sources if near or not is_near(text)]
        return [open_source(self._http, text, None) for text in allowed]

    def sources_of(self, repo: RepoId) -> list[Source]:
        """All that the newest revisions of a model name, each once."""
        found: dict[str, Source] = {}
        for one in self._newest_of_each(repo):
            for source in self.sources(one):
                found.setdefault(source.name, source)
        return list(found.values())

    def disputes(self, repo: RepoId) -> list[str]:
        """The revisions of a model of which catalogues list different manifests, a line each."""
        listed: dict[str, dict[Digest, list[str]]] = {}
        for one in self._catalogues.of_model(repo):
            sides = listed.setdefault(one.entry.name.path, {})
            sides.setdefault(one.entry.manifest, []).append(one.record.name)
        return [
            f"catalogues list different manifests of {path}: "
            + ", ".join(f"{' and '.join(names)} {digest.short}…" for digest, names in sides.items())
            for path, sides in sorted(listed.items())
            if len(sides) > 1
        ]

    def offers(self, query: str) -> list[tuple[str, Offer]]:
        """The newest revision of each model with `query` in its name, by catalogue."""
        found = []
        for catalogue in self._catalogues.each():
            for repo in catalogue.models:
                if query.lower() in str(repo).lower():
                    best = _newest(catalogue.of_model(repo))
                    if best is not None:
                        found.append((catalogue.record.name, _offer(best.entry)))
        return found

    # Inside

    def _newest_of_each(self, repo: RepoId) -> list[ListedEntry]:
        """For each catalogue that lists a model: its newest revision."""
        by_name: dict[str, list[ListedEntry]] = {}
        for one in self._catalogues.of_model(repo):
            by_name.setdefault(one.record.name, []).append(one)
        return [best for found in by_name.values() if (best := _newest(found)) is not None]

    def _listed(self, repo: RepoId, ref: str) -> ListedEntry:
        every = self._catalogues.of_model(repo)
        if not every:
            raise RepoNotFoundError(f"no catalogue that is followed lists {repo}")
        if ref == _MAIN:
            return _undisputed(self._newest_of_each(repo)[0], every)
        if len(ref) >= _MIN_PREFIX:
            found = [one for one in every if one.entry.name.revision.hex.startswith(ref.lower())]
            if len({one.entry.name.revision for one in found}) == 1:
                return _undisputed(found[0], every)
        raise RevisionNotFoundError(
            f"no catalogue that is followed lists the revision {ref[:60]!r} of {repo}",
            hint="'outlast catalogue ls NAME' lists revisions; the newest goes by main",
        )

    def _manifest(self, found: ListedEntry) -> Revision:
        entry, name = found.entry, found.entry.name
        place: CataloguePlace = open_place(self._http, found.record.place, self._home)
        try:
            data = place.read(target_path(name.path, entry.manifest.hex), entry.manifest_bytes)
        except (NotFoundError, TransientError):
            # A bundle brings manifests of its models alone: into the archive.
            archived = Layout(self._home).manifest(entry.manifest)
            kept = read_small(archived, entry.manifest_bytes)
            if kept is None:
                raise
            data = kept
        if len(data) != entry.manifest_bytes or Digest.of(data) != entry.manifest:
            raise CatalogueRefusedError(
                f"{place.name} sent another manifest of {name.path} than its catalogue lists"
            )
        try:
            revision = Revision.from_bytes(data)
        except IntegrityError as error:
            raise CatalogueRefusedError(f"the manifest of {name.path}: {error}") from error
        if revision.repo != name.repo or revision.id != name.revision:
            raise CatalogueRefusedError(
                f"the manifest that is listed as {name.path} is of {revision.repo}@{revision.id}"
            )
        return revision


def _undisputed(found: ListedEntry, every: Sequence[ListedEntry]) -> ListedEntry:
    """An entry that no other catalogue contradicts. Raises :class:`CatalogueRefusedError`."""
    entry = found.entry
    others = {
        one.record.name
        for one in every
        if one.entry.name.revision == entry.name.revision and one.entry.manifest != entry.manifest
    }
    if others:
        names = ", ".join(sorted({found.record.name, *others}))
        raise CatalogueRefusedError(
            f"the catalogues {names} list different manifests of {entry.name.path}",
            hint=f"say which one you believe: --from catalogue:{found.record.name}",
        )
    return found


def _newest(found: Sequence[ListedEntry]) -> ListedEntry | None:
    return max(found, key=lambda one: (one.entry.sequence, one.entry.name.path), default=None)


def _offer(entry: CatalogueEntry) -> Offer:
    return Offer(
        entry.name.repo,
        entry.name.revision,
        entry.manifest,
        (_MAIN,),
        entry.files,
        entry.size,
        partial=False,
        restricted=entry.restricted,
    )
