"""Mend: put the right bytes of a blob, from the archive here, in place of damaged ones there."""

from typing import Final

from outlast.bucket.home import SecondHome, Stored
from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, NotArchivedError
from outlast.core.names import Target
from outlast.ops.second_home.check import problem_in, problem_of
from outlast.ops.second_home.copy import BlobSender, Copied, copy, with_bases
from outlast.store.archive import Archive

_BOTH: Final = (False, True)


def mend(home: SecondHome, sender: BlobSender, blob: tuple[Digest, int], control: Control) -> None:
    """Makes a blob in a home right, and before it what it depends on as it lies here. Nothing that
    is damaged is deleted before a right file was read again. Raises :class:`NotArchivedError` and
    :class:`CorruptError` where the archive has no right bytes, or the home does not keep them, and
    :class:`RefusedByRulesError` where the rules do not let them go.
    """
    archive = sender.archive
    sender.require(blob[0])
    plain = sender.goes_plain(*blob)
    blobs = [*with_bases(archive, *blob)]
    for digest, size in blobs[-1:] if plain else blobs:
        home.forget(digest)
        if problem_of(home, digest, digest.hex, control):
            sender.replace(digest, size)
            held = archive.form_of(digest).form is not Form.PLAIN and not plain
            name = home.blob_name(digest, capsule=held)
            written = Stored(name, home.objects.size(name) or 0, held)
            if problem := _problem(home, digest, written, control):
                raise CorruptError(f"{home.name} took {name}, and does not keep it: {problem}")
        elif place := home.place_of(digest):
            written = Stored(*place, place[0] == home.blob_name(digest, capsule=True))
        else:
            raise NotArchivedError(f"blob {digest.short}… is not in {home.name} any more")
        _delete_other(home, digest, written, control)


def _delete_other(home: SecondHome, digest: Digest, written: Stored, control: Control) -> None:
    """Deletes what is damaged of the form that was not written: it might be read first."""
    for capsule in _BOTH:
        name = home.blob_name(digest, capsule=capsule)
        size = home.objects.size(name)
        if name == written.name or size is None:
            continue
        if _problem(home, digest, Stored(name, size, capsule), control):
            home.objects.delete(name)
    home.forget(digest)


def _problem(home: SecondHome, digest: Digest, file: Stored, control: Control) -> str:
    home.forget(digest)
    return problem_in(lambda: home.open_file(digest, file), digest, digest.hex, control)


def copy_checked(archive: Archive, target: Target, home: SecondHome, control: Control) -> Copied:
    """Copies a revision to a home, reads all of it there, and sends again what is not right."""
    copied = copy(archive, [target], home, control)
    with archive.writer() as writer:
        sender = BlobSender(archive, writer, home, control)
        for revision in copied.revisions:
            for entry in revision.files:
                digest = entry.sha256
                assert digest is not None, "what a manifest has is named by its sha256"
                home.forget(digest)
                if problem_of(home, digest, entry.path, control):
                    mend(home, sender, (digest, entry.size), control)
    return copied
