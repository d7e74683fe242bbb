"""Pull by digest: archive the revision of the manifest with this sha256.

This proves that the files match the manifest, and that the manifest has the wanted digest. It does
not prove that a hub ever served it under its name.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import NotFoundError, OutlastError
from outlast.core.events import Note
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.core.threads import DaemonPool, interruptible
from outlast.fetch.beside.statements import take_statements
from outlast.fetch.file_filter import Selection
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.fetch.transfer import Wishes
from outlast.intake.capsule_stream import held_bytes
from outlast.intake.suspects import Suspects, refuse, warn
from outlast.node.peers import Neighbour
from outlast.node.scope import Neighbourhood
from outlast.ops.pull import Pulled, pull
from outlast.ops.pulling.plan import PullPlan
from outlast.ops.tuning import TUNING, Tuning
from outlast.sources.base import Listing, RepoClaims, Source
from outlast.sources.peer import PeerSource
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import load_manifest
from outlast.store.records.refs import Ref

_log = logging.getLogger(__name__)

_MAIN: Final = "main"
_Asked: TypeAlias = "tuple[Neighbour, Future[Revision]]"


@dataclass(frozen=True, slots=True)
class ByDigest:
    """The result of a pull by digest. `named`: the revision is the model's `main` now. Otherwise
    the model had refs already, and only its commit names the revision.
    """

    pulled: Pulled
    named: bool


@dataclass(frozen=True, slots=True)
class _Exactly(Selection):
    """Selects these paths and no others."""

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
    strict: bool = False,
    tuning: Tuning = TUNING,
) -> ByDigest:
    """Archives the revision of the manifest `digest`. Asks all reachable nodes for the manifest,
    for at most `patience` seconds, and fetches the files as `pull` does. The model gets the ref
    `main` if it has no ref yet.

    Raises :class:`NotFoundError` if no node offers the manifest, and as `pull` does.
    """
    here = _here(archive, digest, control, strict=strict)
    if here is not None:
        if not dry_run:
            plan = here.pulled.plan
            archive.cached.keep(plan.repo, plan.commit)
            _confirm(archive, plan, digest)
            _hear(archive, digest, around, control)
        return here
    revision, source, restricted = _find(digest, around, control, patience, tuning)
    repo, commit = revision.repo, revision.id
    archive.refs.refuse_twin(repo)  # a manifest names its model: under another name it is another
    facts = RepoClaims(private=restricted, gated=False, tags=(), facts={})
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
        strict=strict,
        found=(Listing(repo, commit, entries, facts, revision.unlisted), source),
    )
    if dry_run:
        return ByDigest(pulled, named=False)
    _hear(archive, digest, around, control, already=source)
    if pulled.manifest != digest:
        text = f"the archive had more files of {repo}@{commit.hex[:12]}: its manifest differs"
        control.emit(Note(text))
    found = archive.refs.read(repo)
    named = not found.refs and not found.damaged
    if named:
        with archive.writer() as writer:
            archive.refs.put(writer, repo, Ref(_MAIN, commit))
    return ByDigest(pulled, named)


def _hear(
    archive: Archive,
    digest: Digest,
    around: Neighbourhood,
    control: Control,
    *,
    already: PeerSource | None = None,
) -> None:
    """Asks the nodes that are known now for what was signed about a manifest that is here; one was
    asked `already`. One that knows it to be revoked offers it no more, and tells. The manifest of a
    private or gated model is named to static peers alone.
    """
    if not archive.layout.manifest(digest).exists():
        return
    revision = load_manifest(archive.layout, digest)
    may_tell = archive.refs.may_tell(revision.repo)
    near = [n for n in around.near() if n.static or may_tell]
    others = [n.source for n in near if already is None or n.source is not already]
    take_statements(archive, revision, others, control)


def _confirm(archive: Archive, plan: PullPlan, digest: Digest) -> None:
    """The user named the list of files by its digest: it is no node's word alone any more."""
    repo, commit = plan.repo, plan.commit
    alone = archive.index.manifests_of(repo, commit) == [digest]
    if alone and not archive.drafts.exists(repo, commit):
        archive.unconfirmed.delete(repo, commit)


def _here(archive: Archive, digest: Digest, control: Control, *, strict: bool) -> ByDigest | None:
    """The result, if the archive holds the whole revision already."""
    path = archive.layout.manifest(digest)
    with disk.reporting(path):
        if not path.exists():
            return None
        revision = load_manifest(archive.layout, digest)
    if not all(map(archive.holds, revision.files)):
        return None
    suspects = Suspects(archive).of(revision, strict=strict)
    if strict:
        refuse(suspects)
    warn(control, suspects)
    plan = PullPlan(
        repo=revision.repo,
        ref=revision.id.hex,
        commit=revision.id,
        source="this archive",
        wanted=revision.files,
        excluded=revision.missing,
        left_out=revision.missing,
        here=revision.files,
        to_fetch=(),
        fetch_bytes=0,
        resumed=0,
        free=disk.free_bytes(archive.layout.home),
    )
    held = held_bytes(archive, revision.files)
    named = any(ref.commit == revision.id for ref in archive.refs.list(revision.repo))
    pulled = Pulled(plan, digest, revision.partial, held=held, suspects=tuple(suspects))
    return ByDigest(pulled, named)


def _find(
    digest: Digest,
    around: Neighbourhood,
    control: Control,
    patience: float | None,
    tuning: Tuning,
) -> tuple[Revision, PeerSource, bool]:
    """Asks all nodes, also those that appear meanwhile. The first answer is taken, because it is
    compared with the digest. Returns the source too, and whether the model is restricted: it may be
    for static peers alone, so that nodes on the LAN hear of it when none of those has it.
    """
    until = time.monotonic() + (tuning.manifest_patience if patience is None else patience)
    pool = DaemonPool(tuning.manifest_threads, "ask")
    asked: dict[bytes, _Asked] = {}
    while True:
        control.cancel.check()
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
                return (
                    revision,
                    neighbour.source,
                    _is_restricted(neighbour, revision, control, tuning),
                )
        late = time.monotonic() > until
        for neighbour in _askable(around, asked, late=late):
            _log.debug("asking %s for the manifest %s", neighbour.source.name, digest)
            future = pool.submit(neighbour.source.manifest, digest, tuning.manifest_answer)
            asked[neighbour.node] = neighbour, future
        # New nodes can be invented for ever.
        expects = around.node.contacts.expects() and time.monotonic() < until + tuning.search_within
        if late and not expects and all(future.done() for _, future in asked.values()):
            raise _not_offered(digest, [future for _, future in asked.values()])
        control.cancel.wait(tuning.manifest_poll)


def _askable(
    around: Neighbourhood, asked: Mapping[bytes, _Asked], *, late: bool
) -> list[Neighbour]:
    """The nodes that are to be asked now: static peers, and those on the LAN when none of these may
    has it, or is still to be found.
    """
    near = around.near()
    expects = bool(around.node.settings.peers) and around.node.contacts.expects() and not late
    waits = expects or any(
        one.static and (one.node not in asked or not asked[one.node][1].done()) for one in near
    )
    return [one for one in near if one.node not in asked and (one.static or not waits)]


def _is_restricted(
    neighbour: Neighbour, revision: Revision, control: Control, tuning: Tuning
) -> bool:
    """Whether a node offers the revision to static peers only. If a static peer does not say, the
    answer is yes: we must not offer to others what that peer would have refused them.
    """
    source, repo = neighbour.source, revision.repo
    seconds = tuning.manifest_answer
    try:
        rows = interruptible(lambda: source.models(str(repo), seconds), control.cancel)
    except SOURCE_FAULTS:
        return neighbour.static
    found = [row.restricted for row in rows if (row.repo, row.commit) == (repo, revision.id)]
    return any(found) if found else neighbour.static


def _not_offered(digest: Digest, asked: Sequence[Future[Revision]]) -> OutlastError:
    """The error if no node has the manifest, with the first failure that is not "not found"."""
    errors = [future.exception() for future in asked]
    told = [e for e in errors if isinstance(e, OutlastError) and not isinstance(e, NotFoundError)]
    said = f" (first error: {told[0]})" if told else ""
    return NotFoundError(
        f"none of the {len(asked)} reachable nodes has the manifest {digest.short}…{said}",
        hint="'outlast search' lists what neighbours offer; --patience waits for more of them",
    )
