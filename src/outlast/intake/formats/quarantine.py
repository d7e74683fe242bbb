"""The quarantine of an archive: which files leave it for other programs only if the operator allows
them by their digest. Archives that take each other's files are no such programs.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import OutlastError, QuarantinedError
from outlast.core.manifest import FileEntry
from outlast.intake.formats.allowed import AllowedUnsafe
from outlast.intake.formats.beginning import Beginning, judge_beginning
from outlast.intake.formats.unsafe import Unsafe, is_likely, unsafe_by_name
from outlast.intake.formats.withheld import look
from outlast.store.archive import Archive

_KEPT: Final = 8192
"""Files of which it is remembered what they are: some hundred models. Guess."""
_WEIGHTS: Final = (".safetensors", ".gguf")
"""Endings of weights that run no code."""
_LIKELY: Final = "by its name it is a pickle, as PyTorch writes them: loading it runs code"
_UNKNOWN: Final = Unsafe("not known")
_Key = tuple[str, Digest]


class Quarantine:
    """Judges files of an archive before they leave it. Thread-safe."""

    def __init__(
        self, archive: Archive, *, allowed: Collection[Digest] = (), is_open: bool = False
    ) -> None:
        """`allowed` are let out beside those that the archive remembers; all are, where it
        `is_open`.
        """
        self._archive = archive
        self._allowed = frozenset(allowed)
        self._remembered = AllowedUnsafe(archive.layout.home)
        self.is_open = is_open
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, Unsafe | None] = OrderedDict()
        """What is unsafe about a file; None: nothing."""

    def allows(self, digest: Digest | None) -> bool:
        """Whether the operator allows the bytes of this digest, whatever they are."""
        if self.is_open or digest in self._allowed:
            return True
        return digest is not None and digest in self._remembered.digests()

    def is_known_safe(self, entry: FileEntry) -> bool:
        """Whether that was seen lately; no disk is asked."""
        if self.is_open or not entry.size:
            return True
        if entry.sha256 is None or unsafe_by_name(entry.path) is not None:
            return False
        with self._lock:
            return self._known.get((entry.path, entry.sha256), _UNKNOWN) is None

    def of(self, entry: FileEntry) -> Unsafe | None:
        """What is unsafe about a file, and not allowed: by its content where it is here, else by
        its name. Raises what reading it raises.
        """
        if self.is_open or not entry.size:
            return None
        found = unsafe_by_name(entry.path)
        if found is None and entry.sha256 is not None and self._archive.holds(entry):
            found = self._looked(entry, entry.sha256)
        return None if found is None or self.allows(entry.sha256) else found

    def expected(self, entry: FileEntry) -> Unsafe | None:
        """The same, of a file that is not here by how files of its name usually are. Nothing is
        raised: what cannot be read counts as not here.
        """
        if self.is_open or not is_likely(entry.path):
            return None
        try:
            if entry.sha256 is not None and self._archive.holds(entry):
                return self.of(entry)
        except OutlastError:
            pass
        if "." not in entry.path.rpartition("/")[2] or entry.path.endswith((".model", ".data")):
            return None  # as often texts, and tokens of a tokenizer
        return None if self.allows(entry.sha256) else Unsafe(_LIKELY)

    def unneeded(self, files: Collection[FileEntry]) -> frozenset[str]:
        """The paths of those files of a revision that are not for programs, as far as they can be
        told, and that have others beside them in their place.
        """
        if self.is_open:
            return frozenset()
        held_back = (entry for entry in files if self.expected(entry) is not None)
        return frozenset(e.path for e in held_back if twin_of(e, files) is not None)

    def beginning(self, entry: FileEntry, head: bytes) -> Beginning:
        """The same of a file that arrives, by its first bytes."""
        if self.allows(entry.sha256):
            return "safe"
        return judge_beginning(entry.path, entry.size, head)

    def require(self, entry: FileEntry, files: Iterable[FileEntry] = ()) -> None:
        """Raises :class:`QuarantinedError` where a file may not leave. `files` are those of its
        revision: it names the one that takes its place.
        """
        if (unsafe := self.of(entry)) is not None:
            raise refusal(entry, unsafe, files)

    def _looked(self, entry: FileEntry, digest: Digest) -> Unsafe | None:
        key = (entry.path, digest)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = look(self._archive, entry.path, digest)
        with self._lock:
            self._known[key] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found


def refusal(entry: FileEntry, unsafe: Unsafe, files: Iterable[FileEntry] = ()) -> QuarantinedError:
    """What is said of a file that may not leave: why, and what to use in its place."""
    twin = twin_of(entry, files)
    use = f"use {twin.path!r} of the same model" if twin is not None else "no safetensors twin here"
    digest = entry.sha256.hex if entry.sha256 is not None else "DIGEST"
    return QuarantinedError(
        f"{entry.path!r} is in quarantine ({unsafe}); {use}, or have the operator allow it: "
        f"'outlast quarantine allow {digest}'"
    )


def twin_of(entry: FileEntry, files: Iterable[FileEntry]) -> FileEntry | None:
    """The weights that run no code and stand beside `entry`: in its folder, else at the top."""
    folder, _, name = entry.path.rpartition("/")
    stem = name.partition(".")[0]
    weights = [one for one in files if one.path.lower().endswith(_WEIGHTS) and one.size]

    def rank(one: FileEntry) -> tuple[bool, bool, str]:
        own_folder, _, own = one.path.rpartition("/")
        return own_folder != folder, not own.startswith(stem), one.path

    near = [one for one in weights if one.path.rpartition("/")[0] in {folder, ""}]
    return min(near, key=rank, default=None)
