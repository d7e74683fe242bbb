"""What the statements in the archive say of one model: read and checked once, for all of its
revisions. Pure records: no blob is read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.names import RepoId
from outlast.features.trust.keys.pins import Pin, PinRole, PinState
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.heights import Height, Heights
from outlast.features.trust.records.signers import Signers, signers_of
from outlast.features.trust.records.statement import (
    HubObservation,
    Publication,
    Revocation,
    Statement,
    read_statement,
)
from outlast.store.archive import Archive
from outlast.store.evidence.statements import EVIDENCE


@dataclass(frozen=True, slots=True)
class Heard:
    """A statement that lies with a manifest. `wrong`: why it is not about that; `signers`: of the
    pins that may say such a thing.
    """

    statement: Statement
    wrong: str
    signers: Signers


@dataclass(slots=True)
class ModelView:
    """`heard`: the statements by manifest; `unread`: what is wrong with those that cannot be read;
    `heights`: the highest sequences, by what is here and what was seen before; `past`: the same
    with what keys signed that are retired by now, which says nothing of what others sign; `forks`:
    by ref, sequences under which two manifests are signed.
    """

    repo: RepoId
    heard: dict[Digest, list[Heard]] = field(default_factory=dict)
    unread: dict[Digest, list[str]] = field(default_factory=dict)
    heights: Heights = field(default_factory=Heights)
    past: Heights = field(default_factory=Heights)
    forks: dict[tuple[str, int], set[Digest]] = field(default_factory=dict)


def view_of(
    archive: Archive,
    repo: RepoId,
    pins: Sequence[Pin],
    manifests: Iterable[Digest],
    *,
    known: Heights,
    needed: int,
) -> ModelView:
    """The view of a model whose `manifests` have statements; `known` are the sequences that were
    seen before, `needed` the number of keys of the publisher that have to sign.
    """
    mine = [pin for pin in pins if pin.covers(repo)]
    view = ModelView(repo, heights=known.without_keys(revoked_keys(pins, repo)))
    for manifest in manifests:
        for stored in archive.attestations.of(manifest):
            try:
                found = _statement(stored.data)
            except MalformedError as error:
                view.unread.setdefault(manifest, []).append(str(error))
                continue
            if found is None:
                continue
            envelope, said = found
            heard = Heard(
                said,
                _wrong(said, manifest, repo),
                signers_of(envelope, _entitled(mine, said), _whom(said, repo)),
            )
            view.heard.setdefault(manifest, []).append(heard)
    _raise(view, needed)
    _raise_past(view, needed)
    return view


def revoked_keys(pins: Iterable[Pin], repo: RepoId) -> set[str]:
    """The fingerprints of keys that were pinned for a model and are revoked."""
    mine = (pin for pin in pins if pin.covers(repo) and pin.state is PinState.REVOKED)
    return {pin.key.fingerprint for pin in mine}


def _statement(data: bytes) -> tuple[DsseEnvelope, Statement] | None:
    """The statement in an envelope; None where no claim follows from such a one. Raises
    :class:`MalformedError`.
    """
    envelope = DsseEnvelope.read(data, unsigned=True)
    document = read_statement(envelope.payload)
    if document["predicateType"] in EVIDENCE:
        return None
    if not envelope.signatures:
        raise MalformedError("a statement without a signature")
    return envelope, Statement.of(document)


def signing(heard: Iterable[Heard], like: Publication, *states: PinState) -> dict[str, Pin]:
    """The pins that signed the same ref and sequence, in one envelope or in several, by key."""
    return {
        pin.key.fingerprint: pin
        for one in heard
        if not one.wrong and isinstance(one.statement.predicate, Publication)
        if (one.statement.predicate.ref, one.statement.predicate.sequence)
        == (like.ref, like.sequence)
        for pin in one.signers.by(*states)
    }


def _raise(view: ModelView, needed: int) -> None:
    """Takes in the sequences that enough active keys signed."""
    for manifest, heard in view.heard.items():
        for one in heard:
            said = one.statement.predicate
            if one.wrong or not isinstance(said, Publication):
                continue
            active = signing(heard, said, PinState.ACTIVE)
            if len(active) < needed:
                continue
            view.forks.setdefault((said.ref, said.sequence), set()).add(manifest)
            height = Height(said.sequence, manifest, said.made, tuple(sorted(active)))
            view.heights = view.heights.raised(said.ref, height)
    for ref, height in view.heights.by_ref:  # one that was seen before, and is gone
        if (ref, height.sequence) in view.forks:
            view.forks[ref, height.sequence].add(height.manifest)


def _raise_past(view: ModelView, needed: int) -> None:
    """What was the newest while the keys counted stays the newest of theirs."""
    view.past = view.heights
    for manifest, heard in view.heard.items():
        for one in heard:
            said = one.statement.predicate
            if one.wrong or not isinstance(said, Publication):
                continue
            signed = signing(heard, said, PinState.ACTIVE, PinState.RETIRED)
            if len(signed) >= needed:
                height = Height(said.sequence, manifest, said.made, tuple(sorted(signed)))
                view.past = view.past.raised(said.ref, height)


def _entitled(pins: Sequence[Pin], said: Statement) -> list[Pin]:
    """The pins whose role is to say such a thing; a publisher may revoke what is its own."""
    roles = {
        Publication: (PinRole.PUBLISHER,),
        HubObservation: (PinRole.OBSERVER,),
        Revocation: (PinRole.REVOKER, PinRole.PUBLISHER),
    }[type(said.predicate)]
    return [pin for pin in pins if pin.role in roles]


def _whom(said: Statement, repo: RepoId) -> str:
    if isinstance(said.predicate, HubObservation):
        return "an observer"
    role = "publisher" if isinstance(said.predicate, Publication) else "revoker"
    return f"the {role} of {repo}"


def _wrong(said: Statement, manifest: Digest, repo: RepoId) -> str:
    if said.repo.folded != repo.folded:
        return f"it is about {said.repo}"
    if said.manifest != manifest:
        return f"it is about another manifest: {said.manifest.short}…"
    return ""
