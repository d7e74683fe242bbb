"""Manifests by their digest: archiving exactly the revision that somebody named.

What is proven is that the bytes match the manifest, and that this is the one that was named; not
that a hub ever served it under its name.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import NotFoundError, OutlastError
from outlast.core.events import Note
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.core.threads import DaemonPool, interruptible
from outlast.fetch.file_filter import Selection
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.fetch.transfer import Wishes
from outlast.intake.capsule_stream import held_bytes
from outlast.node.peers import Neighbour
from outlast.node.scope import Neighbourhood
from outlast.ops.pull import Pulled, PullPlan, pull
from outlast.sources.base import Listing, RepoFacts, Source
from outlast.sources.peer import PeerSource
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import load_manifest
from outlast.store.refs import Ref

_log = logging.getLogger(__name__)

_FIND: Final = 3.0
"""Seconds to look for a node that has the manifest, where nobody says how patient to be."""
_ASK_SECONDS: Final = 30.0
_ASKERS: Final = 16
_STEP: Final = 0.05
_MAIN: Final = "main"


@dataclass(frozen=True, slots=True)
class ByDigest:
    """What a pull by digest did. `named`: the revision is the model's `main` now; else the name was
    taken, and the revision goes by its commit alone.
    """

    pulled: Pulled
    named: bool


@dataclass(frozen=True, slots=True)
class _Exactly(Selection):
    """These paths, and no other."""

    paths: frozenset[str] = field(default_factory=frozenset)

    def wants(self, path: str) -> bool:
        return path in self.paths


def pull_manifest(
    archive: Archive,
    digest: Digest,
    sources: Sequence[Source],
    around: Neighbourhood,
    *,
    wishes: Wishes,
    control: Control,
    patience: float | None = None,
    dry_run: bool = False,
    room: Path | None = None,
) -> ByDigest:
    """Archives the revision that the manifest `digest` describes: asked of the nodes that can be
    reached, for at most `patience` seconds; its files come from whoever has them. The model gets
    the ref `main` only where it has no ref yet.

    Raises :class:`NotFoundError` where nobody offers the manifest, and as `pull` does.
    """
    here = _here(archive, digest)
    if here is not None:
        return here
    revision, source, restricted = _find(digest, around, control, patience)
    repo, commit = revision.repo, revision.id
    facts = RepoFacts(private=restricted, gated=False, tags=(), facts={})
    entries = (*revision.files, *revision.missing)
    pulled = pull(
        archive,
        Target(repo, commit.hex),
        sources,
        selection=_Exactly(paths=frozenset(entry.path for entry in revision.files)),
        wishes=wishes,
        control=control,
        around=around,
        dry_run=dry_run,
        room=room,
        found=(Listing(repo, commit, entries, facts, revision.unlisted), source),
    )
    if dry_run:
        return ByDigest(pulled, named=False)
    if pulled.manifest != digest:
        text = f"more of {repo}@{commit.hex[:12]} was here already: its manifest is another now"
        control.emit(Note(text))
    named = not archive.refs.list(repo)
    if named:
        with archive.writer() as writer:
            archive.refs.put(writer, repo, Ref(_MAIN, commit))
    return ByDigest(pulled, named)


def _here(archive: Archive, digest: Digest) -> ByDigest | None:
    """What is to be said where all of it is here."""
    path = archive.layout.manifest(digest)
    with disk.reporting(path):
        if not path.exists():
            return None
        revision = load_manifest(archive.layout, digest)
    if not all(map(archive.holds, revision.files)):
        return None
    plan = PullPlan(
        repo=revision.repo,
        ref=revision.id.hex,
        commit=revision.id,
        source="this archive",
        wanted=revision.files,
        excluded=revision.missing,
        here=revision.files,
        to_fetch=(),
        fetch_bytes=0,
        resumed=0,
        free=disk.free_bytes(archive.layout.home),
    )
    held = held_bytes(archive, revision.files)
    named = any(ref.commit == revision.id for ref in archive.refs.list(revision.repo))
    return ByDigest(Pulled(plan, digest, revision.partial, held=held), named)


def _find(
    digest: Digest, around: Neighbourhood, control: Control, patience: float | None
) -> tuple[Revision, PeerSource, bool]:
    """Asks all nodes that are there, and those that come meanwhile; the first that has it decides,
    for whatever it says is compared with the digest. Also whether it is restricted.
    """
    until = time.monotonic() + (_FIND if patience is None else patience)
    pool = DaemonPool(_ASKERS, "ask")
    asked: dict[bytes, tuple[Neighbour, Future[Revision]]] = {}
    while True:
        control.cancel.check()
        for neighbour in around.near():
            if neighbour.node not in asked:
                _log.debug("asking %s for the manifest %s", neighbour.source.name, digest)
                future = pool.submit(neighbour.source.manifest, digest, _ASK_SECONDS)
                asked[neighbour.node] = neighbour, future
        for neighbour, future in asked.values():
            if future.done() and future.exception() is None:
                revision = future.result()
                _log.info(
                    "%s has the manifest %s: it is %s@%s",
                    neighbour.source.name,
                    digest,
                    revision.repo,
                    revision.id,
                )
                return revision, neighbour.source, _is_restricted(neighbour, revision, control)
        waits = around.node.contacts.expects() or not all(
            future.done() for _, future in asked.values()
        )
        if not waits and time.monotonic() > until:
            raise _nobody(digest, [future for _, future in asked.values()])
        control.cancel.wait(_STEP)


def _is_restricted(neighbour: Neighbour, revision: Revision, control: Control) -> bool:
    """Whether a node gives it to static peers alone. What a static peer does not say is taken to
    be so: others must not get from us what it would not have given to them.
    """
    source, repo = neighbour.source, revision.repo
    try:
        rows = interruptible(lambda: source.models(str(repo), _ASK_SECONDS), control.cancel)
    except SOURCE_FAULTS:
        return neighbour.static
    found = [row.restricted for row in rows if (row.repo, row.commit) == (repo, revision.id)]
    return any(found) if found else neighbour.static


def _nobody(digest: Digest, asked: Sequence[Future[Revision]]) -> OutlastError:
    """Why nobody has it: what they said where that was more than that they lack it."""
    errors = [future.exception() for future in asked]
    told = [e for e in errors if isinstance(e, OutlastError) and not isinstance(e, NotFoundError)]
    said = f"; one says: {told[0]}" if told else ""
    return NotFoundError(
        f"none of {len(asked)} nodes offers the manifest {digest.short}…{said}",
        hint="'outlast search' shows what neighbours offer; --patience waits for them",
    )
