"""``outlast evidence``."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.options.revoked import DigestType
from outlast.cli.screen.render import print_document
from outlast.codec.memory import read as read_bytes
from outlast.core.digest import Digest
from outlast.core.errors import (
    IntegrityError,
    NotFoundError,
    OutlastError,
    UsageError,
    one_line,
)
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.features.trust.commands.evidence_documents import (
    DeletedEvidenceDocument,
    DigestPart,
    EvidenceDocument,
    FetchedPart,
    StampPart,
)
from outlast.features.trust.commands.options import own_keys, read_small
from outlast.features.trust.evidence import timestamp
from outlast.features.trust.evidence.exported import write_evidence
from outlast.features.trust.evidence.reading import (
    AllEvidence,
    EvidenceFound,
    StampFound,
    changed_texts,
    evidence_of,
)
from outlast.features.trust.evidence.stamping import add_timestamp
from outlast.features.trust.keys.pins import Pins, PinState
from outlast.features.trust.settings import TrustSettings
from outlast.sources.http import HttpClient
from outlast.store.archive import Archive
from outlast.store.evidence.removed import RemovedRevision

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from outlast.cli.feature import Listed

_MOST_TEXT: Final = 16 * 1024 * 1024
"""Bytes of a licence text that is read again. Guess: real ones have up to 100 KB."""


@click.command(
    epilog="""\b
Examples:
  outlast evidence org/name
  outlast evidence --timestamp
  outlast evidence org/name --verify --roots tsa-roots.pem
  outlast evidence org/name --output evidence/
  outlast evidence --delete 5f1d… --dry-run

\b
Exit status:
  0 done · 2 usage · 3 not archived, or no record of it · 4 a record does not fit
  5 the timestamp authority does not answer · 7 it refuses · 8 storage
"""
)
@click.argument("targets", type=TARGET, nargs=-1)
@click.option(
    "--verify",
    is_flag=True,
    help="Read the licence texts again; exit status 4 where anything is wrong",
)
@click.option(
    "--timestamp",
    "stamps",
    is_flag=True,
    help="Ask the authority of the settings for a timestamp of each record that has none",
)
@click.option(
    "--roots",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Root certificates of timestamp authorities, in PEM  [default: those of the settings]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write records, timestamps, manifests and licence texts as files that openssl checks",
)
@click.option(
    "--delete",
    "deleted",
    type=DigestType(),
    multiple=True,
    metavar="DIGEST",
    help="Delete the records of the removed revision with this manifest (repeatable)",
)
@click.option("--dry-run", is_flag=True, help="With --delete: print what would go")
@common
def evidence(
    targets: Sequence[Target],
    *,
    verify: bool,
    stamps: bool,
    roots: Path | None,
    output: Path | None,
    deleted: tuple[Digest, ...],
    dry_run: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show the records of what was pulled: when, from which hub, with which manifest and licence
    text, under which rules, by which outlast. Without a name, those of all models.

    A record states what this archive did and saw; it is no legal verdict. Its time is that of this
    machine's clock; a timestamp proves that the record was there at the time which the authority
    says. A record without a signature and a timestamp convinces no one but you.

    'outlast rm' and 'outlast gc' leave records where they are, with the manifest that they are
    about; they are then shown with the time since which the revision is removed. --delete deletes
    them.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        if deleted or dry_run:
            _delete(run, archive, deleted, targets, dry_run=dry_run)
            return
        settings = _settings(run)
        telling = _Telling(run, archive, _roots(roots or settings.timestamp_roots), verify, output)
        if stamps:
            timestamp.require_timestamps()
            if not settings.timestamps:
                raise UsageError(
                    "no timestamp authority is set",
                    hint='write timestamps = "https://…" below [trust] in the configuration file',
                )
        revisions = list(_revisions(archive, targets))
        if stamps:
            with HttpClient(run.config.http()) as http:
                for revision in revisions:
                    _stamp(
                        telling,
                        revision,
                        lambda data: timestamp.ask(http, settings.timestamps, data),
                        settings.timestamps,
                    )
        for revision in revisions:
            run.control.cancel.check()
            telling.tell(revision, evidence_of(archive, revision, telling.roots))
        for removed in _removed(archive, targets):
            telling.tell(
                removed.revision,
                evidence_of(archive, removed.revision, telling.roots),
                removed.removed,
            )
        if targets and not telling.shown and not telling.wrong:
            run.say("there is no record of this: it came before outlast kept any, or not by a pull")
        if verify and telling.wrong:
            raise IntegrityError(
                f"{len(telling.wrong)} things do not fit: {telling.wrong[0]}",
                hint="a record that was changed proves nothing",
            )


def _settings(run: Session) -> TrustSettings:
    listed: Listed = next(feature for feature in run.features if "evidence" in feature.commands)
    settings: TrustSettings = run.config.feature(listed)
    return settings


def _roots(path: Path | None) -> "list[Certificate]":
    if path is None:
        return []
    timestamp.require_timestamps()
    return timestamp.read_roots(read_small(path, timestamp.MAX_ROOTS, "root certificates"))


def _delete(
    run: Session,
    archive: Archive,
    digests: Sequence[Digest],
    targets: Sequence[Target],
    *,
    dry_run: bool,
) -> None:
    """Deletes what is kept of removed revisions. Raises, before anything goes,
    :class:`NotFoundError` for a manifest of which nothing is kept.
    """
    if targets or not digests:
        raise UsageError(
            "what is deleted is named by its manifest alone", hint="--delete DIGEST, and no model"
        )
    known = [(digest, archive.removed.of(digest)) for digest in digests]
    for digest, removed in known:
        if removed is None or archive.layout.manifest(digest).exists():
            raise NotFoundError(
                f"{digest.short}… is no removed revision", hint="'outlast evidence' lists them"
            )
    for digest, removed in known:
        assert removed is not None
        if not dry_run:
            archive.delete_evidence(digest)
        repo = removed.revision.repo
        if run.as_json:
            print_document(
                DeletedEvidenceDocument(
                    repo=repo, manifest=digest, removed=removed.removed, dry_run=dry_run
                )
            )
        else:
            words = "would be deleted" if dry_run else "deleted"
            print(f"{words}: the records of {repo}, removed since {removed.removed}")


def _removed(archive: Archive, targets: Sequence[Target]) -> Iterator[RemovedRevision]:
    """The revisions that are here no more, of which records are kept."""
    names = [(target.repo.folded, target.ref) for target in targets]
    for digest in archive.removed.names():
        found = archive.removed.of(digest)
        if found is None:
            continue
        repo, commit = found.revision.repo.folded, found.revision.id.hex
        if not targets or any(repo == name and ref in {None, commit} for name, ref in names):
            yield found


def _revisions(archive: Archive, targets: Sequence[Target]) -> Iterator[Revision]:
    if targets:
        removed = {one.revision.repo.folded for one in _removed(archive, targets)}
        for target in targets:
            try:
                yield archive.revision(target.repo, target.ref)
            except NotFoundError:
                if target.repo.folded not in removed:
                    raise
        return
    for one in archive.summaries():
        revision = archive.load(one.repo, one.revision)
        if revision is not None and not archive.drafts.exists(one.repo, one.revision):
            yield revision


def _stamp(
    telling: "_Telling", revision: Revision, ask: Callable[[bytes], bytes], server: str
) -> None:
    """Asks for a timestamp of each record of a revision that has none that counts."""
    archive = telling.archive
    for one in evidence_of(archive, revision, telling.roots).found:
        telling.run.control.cancel.check()
        if any(not stamp.stamped.is_wrong for stamp in one.stamps) or one.wrong:
            continue
        response = ask(one.data)
        stamped = timestamp.check(response, one.data, telling.roots)
        if stamped.is_wrong:
            raise IntegrityError(
                f"the timestamp of {server} is not kept: {stamped.why}", hint="compare --roots"
            )
        add_timestamp(archive, one, response, server)
        telling.run.say(f"{revision.repo}: timestamp of {stamped.time}")


@dataclass(slots=True)
class _Telling:
    """Prints what is found, and remembers what is wrong."""

    run: Session
    archive: Archive
    roots: "list[Certificate]"
    verifies: bool
    output: Path | None
    wrong: list[str] = field(default_factory=list)
    shown: int = 0

    def tell(self, revision: Revision, found: AllEvidence, removed: str = "") -> None:
        """`removed`: since when the revision is here no more."""
        for text in found.unread:
            self.wrong.append(text)
            self.run.say(f"{revision.repo}: {text}")
        for evidence_found in found.found:
            one = evidence_found
            if self.verifies and not removed:  # licence texts go with their revision
                changed = tuple(changed_texts(one.record, self._text))
                one = replace(one, wrong=(*one.wrong, *changed))
            self.wrong += one.wrong
            self.shown += 1
            folder = None
            if self.output is not None:
                folder = write_evidence(self.output, revision, one, self._text)
            if self.run.as_json:
                print_document(self._document(revision, one, folder, removed))
            else:
                lines = [*self._lines(revision, one, folder)]
                if removed:
                    lines.insert(1, f"  removed since {removed}")
                for line in lines:
                    print(one_line(line, 2000))

    def _text(self, digest: Digest) -> bytes | None:
        """The bytes of a licence text, read again; None where they are not here."""
        try:
            with self.archive.open_blob(digest) as blob:
                return None if blob.size > _MOST_TEXT else bytes(read_bytes(blob, 0, blob.size))
        except OutlastError:
            return None

    def _known(self, one: EvidenceFound) -> str:
        """Whose the key is that signed, as far as this archive and its user know."""
        if not one.signed:
            return ""
        if any(own.public.fingerprint == one.signed for own in own_keys().all()):
            return "yours"
        pins = (p for p in Pins(self.archive).all() if p.key.fingerprint == one.signed)
        return "pinned" if any(pin.state is PinState.ACTIVE for pin in pins) else ""

    def _document(
        self, revision: Revision, one: EvidenceFound, folder: Path | None, removed: str
    ) -> EvidenceDocument:
        said = one.record
        digests = [DigestPart(t.name, t.sha256, "licence") for t in said.texts]
        digests += [DigestPart(f.name, f.sha256, f.role) for f in said.rules.files]
        return EvidenceDocument(
            repo=revision.repo,
            revision=revision.id,
            manifest=said.manifest,
            record=one.digest,
            own=one.is_own,
            acquired=said.acquired,
            source=said.source,
            ref=said.ref,
            told_by=said.told_by,
            files=said.files,
            bytes=said.size,
            missing=said.missing,
            fetched=[FetchedPart(place, size) for place, size in said.fetched],
            licence=said.licence,
            rules=said.rules.mode,
            digests=digests,
            outlast=said.outlast,
            signed=one.signed,
            key="" if said.key is None else said.key.line,
            known=self._known(one),
            timestamps=[
                StampPart(s.stamped.time, s.record.server, s.stamped.is_checked, s.stamped.why)
                for s in one.stamps
            ],
            wrong=one.wrong,
            folder=folder,
            removed=removed,
        )

    def _lines(self, revision: Revision, one: EvidenceFound, folder: Path | None) -> Iterator[str]:
        said = one.record
        yield f"{revision.repo} at {revision.id.hex[:12]}"
        source = said.source or "a source that is not known"
        ref = f" as {said.ref}" if said.ref else ""
        alone = ", as a node of the local network alone said" if said.told_by else ""
        yield f"  acquired {said.acquired} from {source}{ref}{alone}"
        missing = f", {said.missing} files missing" if said.missing else ""
        came = ", ".join(f"{human_size(size)} from {place}" for place, size in said.fetched)
        came = came or "nothing, all was here"
        yield f"  {said.files} files, {human_size(said.size)}{missing}; came: {came}"
        yield f"  manifest sha256:{said.manifest}"
        yield f"  licence: {said.licence or 'the model names none'}"
        for text in said.texts:
            yield f"    {text.name} sha256:{text.sha256}"
        yield f"  rules: {said.rules.mode}"
        for file in said.rules.files:
            yield f"    {file.role} {file.name} sha256:{file.sha256}"
        by = "this archive" if one.is_own else "another archive, or one that is not known"
        yield f"  record {one.digest.short}… made by {by}, outlast {said.outlast}"
        yield f"  {self._signature(one)}"
        yield from (f"  timestamp {_stamp_words(stamp)}" for stamp in one.stamps)
        if not one.stamps:
            yield "  no timestamp: the time is by the clock of the machine that made the record"
        yield from (f"  WRONG: {text}" for text in one.wrong)
        if folder is not None:
            yield f"  written to {folder}"

    def _signature(self, one: EvidenceFound) -> str:
        if one.unchecked:
            return one.unchecked
        if not one.signed:
            return "its signature does not count" if one.record.key else "not signed"
        whose = {"yours": "a key of yours", "pinned": "a key that is pinned here"}
        return (
            f"signed by {one.signed}, {whose.get(self._known(one), 'a key that is not known here')}"
        )


def _stamp_words(stamp: StampFound) -> str:
    stamped, server = stamp.stamped, stamp.record.server
    if stamped.is_checked:
        return f"{stamped.time}, by an authority below your roots (asked at {server})"
    return f"{stamped.time or 'that cannot be read'} of {server}: {stamped.why}"
