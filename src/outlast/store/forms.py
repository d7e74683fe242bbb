"""The forms in which a blob is held: plain, or as a capsule, which may depend on other blobs.

A blob is here when its plain file is, or else its capsule with all of its bases. Where both
files are there (a crash came between the two steps of a change of form), the plain one counts and
the capsule is garbage. Chains of delta capsules have at most :data:`MAX_LINKS` links.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Final, Protocol, Self

from outlast.codec import format as fmt
from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.codec.reader import read_directory
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, IntegrityError, NotArchivedError, TooDeepError
from outlast.store import disk
from outlast.store.layout import CAPSULE_SUFFIX, Layout

MAX_LINKS: Final = 2
_LOOKS: Final = 8
"""How often the files of a blob are looked at that change between two looks."""


@dataclass(frozen=True, slots=True)
class StoredForm:
    """How a blob is held: `size` are its own bytes, `stored_bytes` those of the file that holds
    it, `bases` what that file depends on.
    """

    form: Form
    size: int
    stored_bytes: int
    bases: tuple[BaseRef, ...] = ()


class StoredFile:
    """A file of the archive that is open for reading, at any offset, from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`FileNotFoundError` where there is none."""
        self.path: Final = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk.storage_error(error, path) from error
        stat = os.fstat(self.fd)
        if not S_ISREG(stat.st_mode):
            self.close()
            raise disk.storage_error(OSError(errno.EINVAL, "not a regular file"), path)
        self.size = stat.st_size

    def duplicate(self) -> Self:
        """The same open file, to be closed by itself."""
        other = copy(self)
        other.fd = os.dup(self.fd)
        return other

    def readinto(self, offset: int, buffer: memoryview) -> None:
        try:  # no context manager: it would cost as much as a small read
            whole = disk.read_exactly(self.fd, buffer, offset)
        except OSError as error:
            raise disk.storage_error(error, self.path) from error
        if not whole:
            raise CorruptError(f"{self.path} ends before it should")

    def expect(self, offset: int, length: int) -> None:
        """Has the disk read these bytes, and no others, while the caller does something else. Only
        a hint: they are read as ever afterwards.
        """
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class FormCache(Protocol):
    """Remembers what was read from capsules; may forget it at any time."""

    def cached_form(self, digest: Digest, stamp: str) -> StoredForm | None: ...

    def note_form(self, digest: Digest, stamp: str, form: StoredForm) -> None: ...

    def cached_forms(self) -> dict[str, tuple[str, StoredForm]]: ...

    def note_tree(self, digest: Digest, form: Form, stamp: str, tree: Tree) -> None: ...

    def tree(self, digest: Digest, form: Form, stamps: Iterable[str]) -> Tree | None: ...


class Forms:
    """Which form each blob of an archive has. Thread-safe."""

    def __init__(
        self,
        layout: Layout,
        cache: FormCache | None = None,
        is_damaged: Callable[[Digest], object] = lambda _blob: False,
    ) -> None:
        """`is_damaged` says which blobs count as not here, whatever lies there."""
        self._layout = layout
        self._cache = cache
        self._is_damaged = is_damaged

    def plain_size(self, digest: Digest) -> int | None:
        """The size of the plain file, in bytes."""
        try:
            return os.stat(self._layout.blob(digest)).st_size
        except FileNotFoundError:
            return None

    def capsule(self, digest: Digest) -> StoredForm | None:
        """The form that the capsule of a blob has; None where there is none, or what is there is
        not the capsule of that blob.
        """
        path = self._layout.capsule(digest)
        try:
            stamp = stamp_of(os.stat(path))
        except FileNotFoundError:
            return None
        form = self._cache.cached_form(digest, stamp) if self._cache else None
        if form is None:
            form = read_form(path, digest)
            if form is not None and self._cache is not None:
                self._cache.note_form(digest, stamp, form)
        return form

    def space_of(self, digest: Digest) -> int:
        """Bytes of the disk that the files of a blob take: whole blocks, as ``du`` counts."""
        total = 0
        for path in (self._layout.blob(digest), self._layout.capsule(digest)):
            with contextlib.suppress(FileNotFoundError):
                total += disk.space_of(os.stat(path))
        return total

    def spaces(self) -> dict[Digest, int]:
        """The same of every blob that is here."""
        found: dict[Digest, int] = {}
        for folder, suffix in ((self._layout.blobs, ""), (self._layout.capsules, CAPSULE_SUFFIX)):
            for digest, stat in self._scan(folder, suffix):
                found[digest] = found.get(digest, 0) + disk.space_of(stat)
        return found

    def of(self, digest: Digest) -> StoredForm | None:
        """The form in which a blob is held."""
        plain, capsule = self.plain_size(digest), self.capsule(digest)
        if plain is None and capsule is None:  # or it was unpacked in between
            plain = self.plain_size(digest)
        if plain is not None and (capsule is None or capsule.size == plain):
            return StoredForm(Form.PLAIN, plain, plain)
        return capsule

    def note_tree(self, digest: Digest, form: Form, tree: Tree, stamp: str = "") -> None:
        """Remembers the tree of the file that holds a blob in a form: the file with this `stamp`,
        or what is there now. Of a blob that only a capsule holds, the tree of its plain bytes can
        be noted too.
        """
        stamps = [stamp] if stamp else self._stamps(digest, form)
        if stamps and self._cache is not None:
            self._cache.note_tree(digest, form, stamps[0], tree)

    def tree(self, digest: Digest, form: Form) -> Tree | None:
        """The tree that was noted of a form, if nothing was changed since; hashes nothing."""
        stamps = self._stamps(digest, form)
        return self._cache.tree(digest, form, stamps) if stamps and self._cache else None

    def _stamps(self, digest: Digest, form: Form) -> list[str]:
        """Of the files that say what the bytes of the form are."""
        found = []
        layout = self._layout
        paths = [layout.blob(digest)] if form is Form.PLAIN else []
        for path in (*paths, layout.capsule(digest)):
            try:
                found.append(stamp_of(os.stat(path)))
            except FileNotFoundError:
                continue
        return found

    def lies_here(self, digest: Digest, size: int) -> bool:
        """Whether the files of a blob of that size and of its bases are here, damaged or not."""
        return Forms(self._layout, self._cache).is_here(digest, size)

    def is_here(self, digest: Digest, size: int) -> bool:
        """Whether a blob of that size is here, with all of its bases, and none of them is known to
        be damaged. Its content was verified when it was put there.
        """
        before = None
        for _ in range(_LOOKS):
            seen: list[StoredForm | None] = []
            if self._is_here(digest, size, 0, seen):
                return True
            if seen == before:
                break
            before = seen
        return False

    def _is_here(
        self, digest: Digest, size: int, links: int, seen: list[StoredForm | None]
    ) -> bool:
        """One look, file by file; forms that change between two of them can hide what is here.
        Adds to `seen` what it found.
        """
        if self._is_damaged(digest):
            return False
        if self.plain_size(digest) == size:
            return True
        form = self.capsule(digest)
        seen.append(form)
        if form is None:  # or it was unpacked in between
            return self.plain_size(digest) == size
        if form.size != size or (form.bases and links == MAX_LINKS):
            return False
        return all(self._is_here(b.sha256, b.size, links + 1, seen) for b in form.bases)

    def check(self, digest: Digest, bases: Iterable[BaseRef]) -> None:
        """Checks that a capsule of `digest`, in place of all that holds it now, may have `bases`.
        Raises :class:`NotArchivedError` where one is not here, :class:`TooDeepError` where a chain
        would be too long or a circle.
        """
        bases = tuple(bases)
        if not bases:
            return
        below = 0
        for base in bases:
            if not self.is_here(base.sha256, base.size):
                raise NotArchivedError(
                    f"{digest.short}… depends on {base.sha256}, which is not here"
                )
            below = max(below, self._below(base.sha256, digest))
        if 1 + below + self._above(digest) > MAX_LINKS:
            raise TooDeepError(f"a chain with {digest.short}… would have over {MAX_LINKS} links")

    def may_depend(self, digest: Digest, bases: Iterable[BaseRef]) -> bool:
        """Whether :meth:`check` finds nothing against it."""
        try:
            self.check(digest, bases)
        except (NotArchivedError, TooDeepError):
            return False
        return True

    def _below(self, digest: Digest, top: Digest) -> int:
        """The links of the chains below `digest`, none of which may come to `top`."""
        if digest == top:
            raise TooDeepError(f"{top.short}… would depend on itself")
        form = self.of(digest)
        bases = form.bases if form is not None else ()
        return max((1 + self._below(base.sha256, top) for base in bases), default=0)

    def _above(self, digest: Digest) -> int:
        """The links of the chains of delta capsules that depend on `digest`."""
        dependents = self.dependents()

        def above(one: Digest, limit: int) -> int:
            found = dependents.get(one, ()) if limit else ()
            return max((1 + above(other, limit - 1) for other in found), default=0)

        return above(digest, MAX_LINKS)

    def dependents(self) -> dict[Digest, list[Digest]]:
        """By base, the blobs that are held as delta capsules and depend on it."""
        found: dict[Digest, list[Digest]] = {}
        for digest, form in self.held().items():
            for base in form.bases:
                found.setdefault(base.sha256, []).append(digest)
        return found

    def held(self) -> dict[Digest, StoredForm]:
        """The blobs that are held as capsules; every other one that is here is plain."""
        return {
            digest: form
            for digest, form in self.capsules().items()
            if form is not None and self.plain_size(digest) != form.size
        }

    def capsules(self) -> dict[Digest, StoredForm | None]:
        """Every capsule, by name; None for one that cannot be read as one."""
        known = self._cache.cached_forms() if self._cache else {}
        found: dict[Digest, StoredForm | None] = {}
        for digest, stat in self._scan(self._layout.capsules, CAPSULE_SUFFIX):
            stamp, form = known.get(digest.hex, ("", None))
            found[digest] = form if stamp == stamp_of(stat) else self.capsule(digest)
        return found

    def _scan(self, folder: Path, suffix: str) -> Iterator[tuple[Digest, os.stat_result]]:
        """The files of blobs below `folder`, whose names end in `suffix`."""
        with disk.reporting(folder):
            for shard in _entries(folder):
                for entry in _entries(Path(shard.path)) if shard.is_dir() else ():
                    name = entry.name.removesuffix(suffix)
                    if name + suffix != entry.name or not Digest.is_valid(name):
                        continue
                    try:
                        yield Digest(name), entry.stat()
                    except FileNotFoundError:  # collected meanwhile
                        continue


def read_form(path: Path, digest: Digest) -> StoredForm | None:
    """What the file `path` is as a capsule of `digest`; None where it is none."""
    try:
        file = StoredFile(path)
    except FileNotFoundError:
        return None
    try:
        return _read_form(file, digest)
    except IntegrityError:
        return None
    finally:
        file.close()


def _read_form(file: StoredFile, digest: Digest) -> StoredForm | None:
    """Reads the trailer, and no more where it names no base: a directory may be long."""
    trailer = None
    at = file.size - fmt.TRAILER_BYTES
    while trailer is None and at >= max(len(fmt.HEAD), file.size - 2 * fmt.TRAILER_BYTES):
        data = bytearray(fmt.TRAILER_BYTES)
        file.readinto(at, memoryview(data))
        trailer = fmt.Trailer.unpack(bytes(data))
        at -= fmt.TRAILER_BYTES
    if trailer is None or trailer.sha256 != digest:
        return None
    if not trailer.base_count:
        return StoredForm(Form.CAPSULE, trailer.blob_size, file.size)
    return StoredForm(Form.DELTA, trailer.blob_size, file.size, read_directory(file).bases)


def stamp_of(stat: os.stat_result) -> str:
    """Changes whenever a file does, as far as its inode tells."""
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
