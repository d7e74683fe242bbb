"""Tells what became of a statement, and which claims hold by it."""

from pathlib import Path
from typing import Literal

from outlast.cli.documents.parts import claim_parts
from outlast.cli.edge import Session
from outlast.cli.screen.claims import claim_words
from outlast.cli.screen.render import print_document
from outlast.core.claims import Claim, Claims
from outlast.core.errors import one_line
from outlast.features.trust.assemble import trust_assessor
from outlast.features.trust.commands.documents import AttestedDocument
from outlast.features.trust.commands.options import write_out
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.making import MadeStatement
from outlast.features.trust.records.statement import HubObservation, Publication
from outlast.store.archive import Archive

What = Literal["published", "observed", "revoked", "taken"]
_HINTS = {
    Claim.PUBLISHED: "the key is not pinned here for {0}: 'outlast key pin {0} KEY'",
    Claim.OBSERVED: "the key is not pinned here: 'outlast key pin {0} KEY --role observer'",
}


def tell(
    run: Session, archive: Archive, made: MadeStatement, what: What, out: Path | None = None
) -> None:
    """Prints the statement's name; writes it to `out`, if that is named."""
    file = write_out(out, made.data)
    said, revision = made.statement, made.revision
    claims = trust_assessor(run, archive).claims(said.manifest, revision)
    predicate = said.predicate
    publication = predicate if isinstance(predicate, Publication) else None
    if run.as_json:
        print_document(
            AttestedDocument(
                type=what,
                repo=revision.repo,
                revision=revision.id,
                manifest=said.manifest,
                statement=made.digest,
                predicate=said.kind,
                keys=[one.key_id for one in DsseEnvelope.read(made.data).signatures],
                ref=None if publication is None else publication.ref,
                sequence=None if publication is None else publication.sequence,
                file=file,
                claims=claim_parts(claims),
            )
        )
        return
    number = f" as number {publication.sequence} of {publication.ref}" if publication else ""
    already = "" if made.is_new else " (it was here already)"
    run.say(
        one_line(
            f"{what} {revision.repo} at {revision.id.hex[:12]}{number}{already}; "
            f"claims that hold: {claim_words(claims)}",
            2000,
        )
    )
    _advise(run, made, claims)
    print(made.digest)


def _advise(run: Session, made: MadeStatement, claims: Claims) -> None:
    """How a statement comes to count here, where it does not."""
    kinds = {Publication: Claim.PUBLISHED, HubObservation: Claim.OBSERVED}
    claim = kinds.get(type(made.statement.predicate))
    if claim is not None and not claims[claim].holds and "not pinned" in claims[claim].why:
        organisation = made.revision.repo.name.partition("/")[0]
        run.say(_HINTS[claim].format(organisation))
