"""An archive that is open for a Python program: who uses it, and when it is closed."""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias
from weakref import WeakSet

from outlast.api.settings import Settings
from outlast.cli.feature import LateNames, LateRecorder, LateWeigher, assessor_of
from outlast.core.closing import Closing
from outlast.core.errors import NotFoundError, UsageError
from outlast.features import FEATURES
from outlast.store.archive import Archive as Store

if TYPE_CHECKING:
    import io

AnyPath: TypeAlias = str | os.PathLike[str]


class OpenedArchive(Closing):
    """What all calls of an archive stand on."""

    def __init__(self, settings: Settings, *, create: bool) -> None:
        """Use :func:`open`."""
        self._settings = settings
        self._store = _open_store(settings, create=create)
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._callers: Counter[int] = Counter()
        self._closed = False
        self._files: WeakSet[io.BufferedReader] = WeakSet()

    @property
    def home(self) -> Path:
        """The archive's folder."""
        return self._settings.config.home

    def close(self) -> None:
        """Closes the archive and all of its files that are open. Calls that run in other threads
        come to their end before. In a process that was forked from the one that opened the archive
        it does nothing: the archive is the other's.
        """
        if self._process != os.getpid():
            return
        with self._changed:
            if threading.get_ident() in self._callers:
                raise UsageError(
                    "the archive cannot be closed inside of one of its calls",
                    hint="set the call's token of cancelling, and close it afterwards",
                )
            self._closed = True
            while self._callers:
                self._changed.wait()
            files = list(self._files)
        for file in files:
            file.close()
        self._store.close()

    def __repr__(self) -> str:
        return f"<outlast.Archive {str(self.home)!r}{' (closed)' if self._closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an open archive cannot be pickled or copied: pass archive.home, and open it there with"
            " outlast.open()"
        )

    @contextlib.contextmanager
    def _use(self) -> Iterator[Store]:
        """The store, for one call: it is not closed before that ends."""
        if self._process != os.getpid():
            raise UsageError(
                "the archive was opened by another process, from which this one was forked",
                hint="open it here too: outlast.open(archive.home)",
            )
        me = threading.get_ident()
        with self._changed:
            if self._closed:
                raise UsageError("the archive is closed", hint="open it again: outlast.open()")
            self._callers[me] += 1
        try:
            yield self._store
        finally:
            with self._changed:
                self._callers[me] -= 1
                self._callers += Counter()  # without those that are at 0
                self._changed.notify_all()


def _open_store(settings: Settings, *, create: bool) -> Store:
    """An archive that is there is opened as it is: it may be read-only."""
    home, gate = settings.config.home, settings.gate()
    try:
        store = Store(home, gate=gate)
    except NotFoundError:
        if not create:
            raise
        store = Store(home, create=True, gate=gate)
    if not store.rules.is_open:
        store.rules.assessor = assessor_of(FEATURES, settings.config.feature, store)
    store.weigher = LateWeigher(FEATURES, store)
    store.known_names = LateNames(FEATURES, store)
    if create:
        store.recorder = LateRecorder(FEATURES, settings.config.feature, store)
    return store


def absolute(path: AnyPath | None) -> Path | None:
    """A path from a user, whose home folder is ``~``."""
    return None if path is None else Path(os.path.expanduser(path)).absolute()


def within(name: str, value: int | None, least: int, most: int | None) -> int | None:
    """A number from a user, which must be in these bounds."""
    if value is not None and (value < least or (most is not None and value > most)):
        bounds = f"from {least} to {most}" if most is not None else f"at least {least}"
        raise UsageError(f"{name} is {value}, and must be {bounds}")
    return value
