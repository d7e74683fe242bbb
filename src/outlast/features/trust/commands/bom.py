"""``outlast bom``."""

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import MalformedError, UsageError
from outlast.core.manifest import load_json
from outlast.core.names import Target
from outlast.features.trust.assemble import trust_assessor
from outlast.features.trust.bom.described import DescribedModel, is_whole
from outlast.features.trust.bom.document import bill, to_bytes
from outlast.features.trust.bom.facts import Describing
from outlast.features.trust.bom.signature import sign, signer
from outlast.features.trust.commands.bom_documents import BomDocument, SignedBomDocument
from outlast.features.trust.commands.options import asking, own_keys, passphrase_option
from outlast.features.trust.keys.extra import require_cryptography
from outlast.features.trust.keys.public import PublicKey
from outlast.features.trust.keys.secret import load_secret
from outlast.features.trust.rules.assemble import rule_files
from outlast.features.trust.rules.publishers import read_publishers
from outlast.features.trust.settings import TrustSettings
from outlast.store import disk
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from outlast.cli.feature import Listed
    from outlast.core.manifest import Revision

_MOST: Final = 512 << 20
"""Bytes of a bill of materials that is read: one of 20,000 revisions has some 200 MB. Guess."""


@click.command(
    epilog="""\b
Examples:
  outlast bom Qwen/Qwen3-0.6B > qwen.cdx.json
  outlast bom --all --output models.cdx.json
  outlast bom --all --output models.cdx.json --sign me
  outlast bom --check models.cdx.json

\b
Exit status:
  0 written, or the signature is right · 2 usage · 3 no archive, or no such model
  4 a record is damaged, or the signature is wrong · 8 storage · 130 interrupted
"""
)
@click.argument("targets", type=TARGET, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All revisions of the archive")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to this file  [default: standard output]",
)
@click.option(
    "--sign",
    "key",
    metavar="KEY",
    help="Sign it with this key of 'outlast key list', or the one in this file",
)
@passphrase_option
@click.option(
    "--check",
    "checked",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Say which key signed this bill of materials, and write none",
)
@common
def bom(
    targets: Sequence[Target],
    *,
    everything: bool,
    checked: Path | None,
    output: Path | None,
    key: str | None,
    passphrase_file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a bill of materials of models: CycloneDX 1.6 in JSON, with the files and their hashes,
    the licence, the publisher, what each model was made from and which claims hold.

    It has what the archive knows: no hub is asked, and nothing is hashed again. It states facts,
    not whether a licence allows what you do. With --json, --output is needed, and what was written
    is printed.
    """
    if checked is not None:
        if everything or targets or output is not None or key is not None:
            raise UsageError("--check FILE goes with no model and no other file")
        with session(home, as_json=as_json, quiet=quiet) as run:
            _check(run, checked)
        return
    if everything == bool(targets):
        raise UsageError("name models, or --all")
    if as_json and output is None:
        raise UsageError("--json needs --output FILE", hint="without --json it is printed")
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        secret = None if key is None else _secret(key, passphrase_file)
        models = list(_described(run, archive, targets))
        document = bill(models, dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if secret is not None:
            document = sign(document, secret)
        data = to_bytes(document) + b"\n"
        if output is None:
            sys.stdout.buffer.write(data)
        else:
            _write(output, data)
        incomplete = sum(not is_whole(model) for model in models)
        if as_json and output is not None:
            print_document(
                BomDocument(
                    path=output,
                    serial=document["serialNumber"],
                    models=len(models),
                    incomplete=incomplete,
                    bytes=len(data),
                    key=None if secret is None else _fingerprint(secret),
                )
            )
            return
        signed = ", signed" if secret is not None else ""
        partial = f"; {incomplete} of them lack files" if incomplete else ""
        run.say(f"{plural(len(models), 'model')}{signed}{partial}")


def _described(
    run: Session, archive: Archive, targets: Sequence[Target]
) -> Iterator[DescribedModel]:
    settings = _settings(run)
    summaries = archive.summaries()
    publishers = read_publishers(rule_files(run.config.home, settings).publishers)
    describing = Describing(archive, publishers, summaries, trust_assessor(run, archive))
    if targets:
        revisions: Iterator[Revision] = (archive.revision(t.repo, t.ref) for t in targets)
    else:
        found = (archive.load(one.repo, one.revision) for one in summaries)
        revisions = (revision for revision in found if revision is not None)
    seen = set()
    for revision in revisions:
        run.control.cancel.check()
        if (revision.repo, revision.id) not in seen:
            seen.add((revision.repo, revision.id))
            drafted = archive.drafts.exists(revision.repo, revision.id)
            yield describing.describe(revision, None if drafted else revision.digest)


def _settings(run: Session) -> TrustSettings:
    listed: Listed = next(feature for feature in run.features if "bom" in feature.commands)
    settings: TrustSettings = run.config.feature(listed)
    return settings


def _secret(key: str, passphrase_file: Path | None) -> "Ed25519PrivateKey":
    folder = own_keys()
    path = folder.get(key).path if folder.has(key) else Path(key)
    return load_secret(path, asking(passphrase_file))


def _write(path: Path, data: bytes) -> None:
    """Replaces the file as a whole, or leaves it as it is."""
    temp = path.with_name(f".{path.name}.partial")
    with disk.reporting(path):
        disk.remove(temp)
        try:
            disk.write_temp(temp, data, 0o644)
            disk.publish(temp, path)
        finally:
            disk.remove(temp)


def _check(run: Session, path: Path) -> None:
    with disk.reporting(path), path.open("rb") as file:
        data = file.read(_MOST + 1)
    document = load_json(data, _MOST)
    if not isinstance(document, dict):
        raise MalformedError(f"{path.name} is no bill of materials")
    require_cryptography()
    key = PublicKey.of_ed25519(signer(document)).fingerprint
    if run.as_json:
        print_document(SignedBomDocument(path=path, key=key))
    else:
        print(f"{path}: signed by {key}, and not changed since")


def _fingerprint(secret: "Ed25519PrivateKey") -> str:
    return PublicKey.of_ed25519(secret.public_key().public_bytes_raw()).fingerprint
