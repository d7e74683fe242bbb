"""``outlast verify --who``: who vouches for a revision, by which key, since when."""

from collections.abc import Sequence

from outlast.cli.documents.claims import WhoDocument
from outlast.cli.documents.parts import RunPart, claim_parts, commit_part, foreign_parts, run_part
from outlast.cli.edge import session
from outlast.cli.screen.claims import claim_lines, run_line
from outlast.cli.screen.render import print_document
from outlast.core.claims import Claim, Claims, Standing
from outlast.core.errors import IntegrityError, RevokedError, UsageError, one_line
from outlast.core.names import Target
from outlast.intake.vouched import vouched_by
from outlast.ops.claims import Assessed, assess


def explain(targets: Sequence[Target], home: str | None, *, as_json: bool, quiet: bool) -> int:
    """Prints a few lines for each revision; the exit status."""
    status = 0
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        assessor = run.assessor(archive)
        if assessor is None:
            raise UsageError("this outlast cannot tell who vouches for a model")
        for found in assess(archive, assessor, targets, run.control.cancel):
            part = None
            if found.claims is not None:
                part = run_part(archive, vouched_by(archive, found.manifest, found.claims))
            _print(found, part, as_json=as_json)
            if found.claims is not None:
                status = max(status, _status(found.claims))
    return status


def _print(found: Assessed, part: RunPart | None, *, as_json: bool) -> None:
    revision = found.revision
    if as_json:
        print_document(
            WhoDocument(
                repo=revision.repo,
                revision=revision.id,
                manifest=found.manifest,
                claims=[] if found.claims is None else claim_parts(found.claims),
                revoked="" if found.claims is None else found.claims.revoked,
                run=part,
                foreign=foreign_parts(found.claims),
                commit=commit_part(found.claims),
            )
        )
        return
    print(f"{revision.repo} at {revision.id.hex[:12]}")
    if found.claims is None:
        print("  files are still arriving: there is no manifest to vouch for")
        return
    for line in claim_lines(found.claims):
        print(f"  {one_line(line, 2000)}")
    if part is not None and not found.claims.revoked:
        print(f"  {one_line(f'run        {run_line(part)}', 2000)}")


def _status(claims: Claims) -> int:
    if claims.revoked:
        return RevokedError.exit_code
    damaged = claims[Claim.INTACT].standing is Standing.REFUSED
    return IntegrityError.exit_code if damaged else 0
