"""``outlast dossier``."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import print_document
from outlast.core.digest import Digest
from outlast.core.errors import UsageError, one_line
from outlast.core.names import Target
from outlast.features.trust.assemble import trust_assessor
from outlast.features.trust.bom.facts import Describing
from outlast.features.trust.commands.dossier_documents import (
    CheckedDossierDocument,
    DossierDocument,
)
from outlast.features.trust.commands.options import (
    key_option,
    passphrase_option,
    read_small,
    signers,
)
from outlast.features.trust.dossier.gathered import Dossier, gather
from outlast.features.trust.dossier.page import page
from outlast.features.trust.dossier.sections import sections
from outlast.features.trust.dossier.signature import SUFFIX, SignedDossier, check, sign
from outlast.features.trust.keys.signing import Signer
from outlast.features.trust.rules.assemble import rule_files
from outlast.features.trust.rules.publishers import read_publishers
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.records.attestations import MAX_ATTESTATION

if TYPE_CHECKING:
    from outlast.cli.feature import Listed
    from outlast.features.trust.settings import TrustSettings

_MAX_PAGE = 64 << 20


@click.command(
    epilog="""\b
Examples:
  outlast dossier org/name
  outlast dossier org/name@v2 --output name-v2.html --key work
  outlast dossier --check name-v2.html

\b
Exit status:
  0 done · 2 usage, or no such key · 3 not archived · 4 a record is damaged, or the signature is
  not right · 8 storage · 130 interrupted
"""
)
@click.argument("target", type=TARGET, required=False)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write the page to this file  [default: org--name-COMMIT.html in this folder]",
)
@key_option
@passphrase_option
@click.option("--unsigned", is_flag=True, help="Write the page without a signature")
@click.option(
    "--check",
    "checked",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Check the signature beside this page, and say by which keys it is",
)
@common
def dossier(
    target: Target | None,
    *,
    output: Path | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    unsigned: bool,
    checked: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write one page about a model, to be read, printed and filed: claims and provenance, formats
    and code, chat templates, sealed runs, what the engine consists of, licence, parties, screening,
    and the digests of all files.

    The page is one file without scripts, and loads nothing. Its signature lies beside it, in
    FILE.html.dsse.json. It has what the archive knows: no hub is asked. The files of the engine are
    hashed, those of the model are not: 'outlast verify' does that.
    """
    if (target is None) == (checked is None):
        raise UsageError("name a model, or a page with --check")
    if checked is not None and (output or keys or unsigned):
        raise UsageError("--check writes and signs nothing: it goes without the other options")
    if unsigned and keys:
        raise UsageError("--unsigned goes without --key")
    with session(home, as_json=as_json, quiet=quiet) as run:
        if checked is not None:
            _tell_checked(run, checked)
            return
        assert target is not None
        by = [] if unsigned else signers(keys, passphrase_file)
        with run.archive() as archive:
            _write_dossier(run, _gathered(run, archive, target), output, by)


def _gathered(run: Session, archive: Archive, target: Target) -> Dossier:
    listed: Listed = next(feature for feature in run.features if "dossier" in feature.commands)
    settings: TrustSettings = run.config.feature(listed)
    publishers = read_publishers(rule_files(run.config.home, settings).publishers)
    assessor = trust_assessor(run, archive)
    describing = Describing(archive, publishers, archive.summaries(), assessor)
    revision = archive.revision(target.repo, target.ref)
    return gather(archive, describing, revision, dt.datetime.now(dt.UTC))


def _write_dossier(run: Session, found: Dossier, output: Path | None, by: Sequence[Signer]) -> None:
    revision, manifest = found.revision, found.model.manifest
    path = output or Path(f"{str(revision.repo).replace('/', '--')}-{revision.id.hex[:12]}.html")
    data = page(str(revision.repo), sections(found)).encode()
    beside = path.with_name(path.name + SUFFIX)
    if by:
        about = SignedDossier(
            tuple(one.key for one in by),
            str(revision.repo),
            revision.id.hex,
            "" if manifest is None else manifest.hex,
            found.made,
        )
        envelope = sign(data, about, by, path.name)
        _replace(path, data)
        _replace(beside, envelope)
    else:
        with disk.reporting(beside):
            disk.remove(beside)  # a signature of an older page would not match
        _replace(path, data)
    if run.as_json:
        print_document(
            DossierDocument(
                repo=revision.repo,
                revision=revision.id,
                manifest=manifest,
                path=path,
                sha256=Digest.of(data),
                signature=beside if by else None,
                keys=[one.key.fingerprint for one in by],
                sealed_runs=len(found.runs),
            )
        )
        return
    signed = f"signed by {', '.join(one.key.short for one in by)} in {beside.name}"
    run.say(one_line(f"dossier of {revision.repo}: {signed if by else 'not signed'}", 1000))
    print(path)


def _tell_checked(run: Session, path: Path) -> None:
    """Checks the signature beside a page. Raises :class:`BadSignatureError`."""
    data = read_small(path, _MAX_PAGE, "page")
    envelope = read_small(path.with_name(path.name + SUFFIX), MAX_ATTESTATION, "signature")
    found = check(data, envelope)
    if run.as_json:
        print_document(
            CheckedDossierDocument(
                path=path,
                keys=[key.fingerprint for key in found.keys],
                repo=found.repo,
                revision=found.revision,
                manifest=found.manifest,
                made=found.made,
            )
        )
        return
    for key in found.keys:
        print(one_line(f"signed by {key.fingerprint}"))
    run.say(
        one_line(
            f"{path.name} is as it was signed: {found.repo} at {found.revision[:12]}, "
            f"{found.made}; compare the key with one that you know",
            1000,
        )
    )


def _replace(path: Path, data: bytes) -> None:
    """Replaces the file as a whole, or leaves it as it is."""
    temp = path.with_name(f".{path.name}.partial")
    with disk.reporting(path):
        disk.remove(temp)
        try:
            disk.write_temp(temp, data, 0o644)
            disk.publish(temp, path)
        finally:
            disk.remove(temp)
