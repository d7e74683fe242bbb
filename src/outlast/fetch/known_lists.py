"""What the archive knows of a commit's files already: where no source answers, where a node on the
LAN alone says what they are, and where a source says so after that.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from outlast.codec.hashing import names_of
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError, DamagedRecordError, MalformedError
from outlast.core.events import Note
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.fetch.file_filter import Selection
from outlast.intake.local_file import hash_blob
from outlast.sources.base import Listing, RepoClaims
from outlast.store.archive import Archive


def unfinished(archive: Archive, repo: RepoId, ref: str, selection: Selection) -> Listing | None:
    """The files of a commit that is here, as its hub listed them; None if all that are wanted are
    here, or if no hub listed them.
    """
    with contextlib.suppress(DamagedRecordError):
        noted = None if GitOid.is_valid(ref) else archive.refs.get(repo, ref)
        commit = archive.find_commit(repo, ref)
        revision = None if commit is None else archive.load(repo, commit)
        if (
            revision is not None
            and selection.split(revision.missing)[0]
            and not (noted is not None and noted.unconfirmed)
            and archive.unconfirmed.get(repo, revision.id) is None
        ):
            about = archive.refs.about(repo)
            private = about.private or archive.refs.is_unsaid(repo)
            facts = RepoClaims(private, about.gated, about.tags, {})
            entries = (*revision.files, *revision.missing)
            return Listing(repo, revision.id, entries, facts, revision.unlisted)
    return None


def as_archived(archive: Archive, listing: Listing, control: Control) -> Listing:
    """The listing with the files that the archive has for its commit, if the other ones are the
    word of a node on the LAN alone: that is never added to what is known of a commit.
    """
    known = archive.load(listing.repo, listing.commit) if listing.told_by else None
    if known is None or known.unlisted:
        return listing
    entries = (*known.files, *known.missing)
    if {(e.path, e.size) for e in entries} != {(e.path, e.size) for e in listing.entries}:
        text = f"{listing.told_by} lists other files of {listing.commit.hex[:12]} than are known"
        control.emit(Note(f"{text} here: its list is not taken"))
    return replace(listing, entries=entries, unlisted=False)


def names_itself(repo: RepoId, commit: GitOid, entries: Sequence[FileEntry]) -> bool:
    """Whether the id of a revision follows from its files, as that of a folder which was added:
    then it does not matter who lists them.
    """
    return all(entry.sha256 is not None for entry in entries) and (
        Revision.of(repo, None, entries).id == commit
    )


def is_doubted(archive: Archive, repo: RepoId, commit: GitOid, told_by: str) -> bool:
    """Whether what is here of a commit is only what a node on the LAN said, and now a list of it
    has come that is more than that: it has no `told_by`.
    """
    return not told_by and archive.unconfirmed.get(repo, commit) is not None


def not_noted(
    archive: Archive,
    repo: RepoId,
    commit: GitOid,
    entries: Sequence[FileEntry],
    told_by: str,
) -> list[FileEntry]:
    """Those of `entries` that a draft of the commit would lack at its start: their bytes are not
    here, or are not free for `repo`.
    """
    old = archive.load(repo, commit)
    held = {entry.path: entry for entry in old.files if archive.holds(entry)} if old else {}
    doubted = is_doubted(archive, repo, commit, told_by)
    if doubted:
        held = confirmed(archive, held, entries)
    nothing, ownership = names_of(b""), archive.ownership()

    def is_noted(entry: FileEntry) -> bool:
        if entry.path in held or (entry.size == 0 and entry.mismatch(nothing) is None):
            return True
        known = None if doubted and entry.sha256 is None else archive.known(entry)
        return (
            known is not None
            and known.sha256 is not None
            and archive.holds(known)
            and ownership.is_free_for(repo, known.sha256)
        )

    return [entry for entry in entries if not is_noted(entry)]


def confirmed(
    archive: Archive, held: Mapping[str, FileEntry], entries: Sequence[FileEntry]
) -> dict[str, FileEntry]:
    """Those of `entries` that a hub lists and whose bytes are here under the same path, where a
    node on the LAN had said what is `held`. That is not believed: small files are hashed again, and
    what the archive knows of git ids may be from there.
    """
    found = {}
    for entry in entries:
        known = held.get(entry.path)
        if known is None or known.sha256 is None or known.size != entry.size:
            continue
        if entry.git_sha1 is None and entry.sha256 == known.sha256:
            found[entry.path] = replace(entry, merkle_root=known.merkle_root)
        elif entry.git_sha1 is not None:
            with contextlib.suppress(CorruptError, MalformedError):
                with archive.open_blob(known.sha256) as blob:
                    names = hash_blob(blob, Cancel())
                if entry.mismatch(names) is None:
                    found[entry.path] = entry.with_names(names)
    return found
