"""Writes a record of what was pulled, and signs it where the operator named a key."""

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from outlast import __version__
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError, OutlastError, one_line
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.features.trust.evidence.acquired import (
    MOST_PATH,
    MOST_ROWS,
    AcquisitionRecord,
    NamedDigest,
)
from outlast.features.trust.evidence.in_force import rules_in_force
from outlast.features.trust.evidence.own import OwnRecords, own_records
from outlast.features.trust.foreign.cosign import keep_signatures
from outlast.features.trust.keys.signing import Signer
from outlast.features.trust.records.dsse import DsseEnvelope, Signature
from outlast.features.trust.records.hub_commit import has_commit, keep_commit
from outlast.features.trust.records.statement import now_text, read_statement
from outlast.features.trust.rules.licence_texts import licence_texts
from outlast.features.trust.settings import TrustSettings
from outlast.intake.judging import subject_of
from outlast.sources.kinds import is_hub
from outlast.store.archive import Archive
from outlast.store.evidence.acquisition import Acquisition
from outlast.store.evidence.statements import ACQUISITION
from outlast.store.records.file_list import entries_of, listing_digest

_log = logging.getLogger(__name__)
_MOST_TEXT: Final = 290
NODE: Final = "a node"
LOCAL: Final = "a local place"
FOLDER: Final = "a local folder"
CACHE: Final = "a Hugging Face cache"
BUNDLE: Final = "a bundle"
_TORRENT: Final = "torrent "


@dataclass(frozen=True, slots=True)
class EvidenceRecorder:
    """Implements :class:`outlast.store.evidence.acquisition.Recorder`. `signer` opens the key that
    signs: None where the operator named none.
    """

    archive: Archive
    settings: TrustSettings
    signer: Callable[[], Signer] | None = None
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    def wants_commit(self, repo: RepoId, commit: GitOid) -> bool:
        if not self.settings.hub_commits:
            return False
        return not has_commit(self.archive, self.archive.index.manifests_of(repo, commit))

    def record(self, acquired: Acquisition) -> str:
        self._keep_commit(acquired)
        self._keep_signatures(acquired)
        try:
            return self._record(acquired)
        except (OutlastError, OSError, MemoryError) as error:
            return f"no record of this pull was kept: {error or type(error).__name__}"

    def _keep_commit(self, acquired: Acquisition) -> None:
        """Keeps the text of the commit, where the hub gave it. A person need not know where not."""
        if acquired.hub_commit is None:
            return
        try:
            keep_commit(self.archive, acquired.manifest, acquired.revision, acquired.hub_commit)
        except (OutlastError, OSError, MemoryError) as error:
            _log.debug("the text of commit %s is not kept: %s", acquired.revision.id, error)

    def _keep_signatures(self, acquired: Acquisition) -> None:
        """Keeps what a registry has of signatures; `verify --who` says what they come to."""
        if not acquired.signatures:
            return
        manifest, revision = acquired.manifest, acquired.revision
        try:
            keep_signatures(self.archive, manifest, revision, acquired.signatures)
        except (OutlastError, OSError, MemoryError) as error:
            _log.warning("signatures of %s are not kept: %s", revision.repo, error)

    def _record(self, acquired: Acquisition) -> str:
        signer, trouble = self._opened()
        record = self._described(acquired, signer)
        if self._is_known(record):
            return ""
        payload = record.to_bytes()
        data = DsseEnvelope.of(payload, []).to_bytes()
        if signer is not None:
            try:
                signature = signer.sign(DsseEnvelope(payload, ()).message)
                one = Signature(signer.key.fingerprint, signature)
                data = DsseEnvelope.of(payload, [one]).to_bytes()
            except OutlastError as error:
                # Unsigned, it must not name the key as its own.
                trouble = str(error)
                payload = self._described(acquired, None).to_bytes()
                data = DsseEnvelope.of(payload, []).to_bytes()
        AcquisitionRecord.of(read_statement(payload))  # what cannot be read is not written
        with self.archive.writer() as writer:
            records, repo = own_records(self.archive), acquired.revision.repo
            made = records.get(repo) or OwnRecords()
            # First: a crash then leaves a name without a record, which is harmless.
            records.put(writer, repo, made.with_one(Digest.of(data)))
            self.archive.attestations.add(writer, acquired.manifest, data)
        return f"the record of this pull is not signed: {trouble}" if trouble else ""

    def _opened(self) -> tuple[Signer | None, str]:
        """The key that signs; or why there is none, where one was named."""
        try:
            return (None if self.signer is None else self.signer()), ""
        except OutlastError as error:
            return None, str(error)

    def _described(self, acquired: Acquisition, signer: Signer | None) -> AcquisitionRecord:
        revision, archive = acquired.revision, self.archive
        return AcquisitionRecord(
            repo=revision.repo,
            manifest=acquired.manifest,
            commit=revision.commit,
            acquired=now_text(self.now()),
            source=place(acquired.source),
            listing=listing_digest(entries_of(revision)),
            ref=one_line(acquired.ref, _MOST_TEXT),
            told_by=NODE if acquired.told_by else "",
            files=len(revision.files),
            size=revision.size,
            missing=len(revision.missing),
            fetched=tuple(_fetched(acquired.fetched)),
            licence=one_line(subject_of(archive, revision).licence, _MOST_TEXT),
            texts=tuple(_texts(revision)),
            rules=rules_in_force(archive.layout.home, self.settings),
            outlast=__version__,
            key=None if signer is None else signer.key,
        )

    def _is_known(self, record: AcquisitionRecord) -> bool:
        """Whether the newest record that was made here says all of it: pulls that bring nothing
        new, as one every hour, add none.
        """
        own = own_records(self.archive).get(record.repo) or OwnRecords()
        here = {
            stored.digest: stored.data for stored in self.archive.attestations.of(record.manifest)
        }
        for digest in own.made:
            if digest not in here:
                continue
            try:
                payload = DsseEnvelope.read(here[digest], unsigned=True).payload
                document = read_statement(payload)
                if document["predicateType"] == ACQUISITION:
                    return record.says_no_more_than(AcquisitionRecord.of(document))
            except MalformedError as error:
                _log.warning("the record %s cannot be read: %s", digest, error)
        return False


def place(source: str) -> str:
    """What a record says of a source: the address of a hub or site without what may be secret in
    it; of machines of the local network and folders, only that it was one.
    """
    if not source:
        return ""
    if source.startswith(_TORRENT):
        return one_line(source, _MOST_TEXT)
    for start, words in (("folder:", FOLDER), ("cache", CACHE), ("bundle:", BUNDLE)):
        if source.startswith(start):
            return words
    try:
        url = urlsplit(source)
    except ValueError:
        return LOCAL
    if url.scheme in {"http", "https"} and url.hostname:
        host = url.netloc.rpartition("@")[2]
        return one_line(f"{url.scheme}://{host}{url.path}", _MOST_TEXT)
    if is_hub(source) and "@" not in source:
        return one_line(source, _MOST_TEXT)
    return NODE if source.startswith(("peer ", "swarm")) else LOCAL


def _fetched(found: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    by_place: dict[str, int] = {}
    for source, size in found.items():
        by_place[place(source)] = by_place.get(place(source), 0) + size
    rows = sorted((name, size) for name, size in by_place.items() if size)
    yield from rows[:MOST_ROWS]


def _texts(revision: Revision) -> Iterator[NamedDigest]:
    found = sorted(licence_texts(revision).items())
    for path, digest in [row for row in found if len(row[0]) <= MOST_PATH][:MOST_ROWS]:
        yield NamedDigest(path, digest)
