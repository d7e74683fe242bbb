"""A bundle in the folder of a static web server."""

import threading
import weakref
from dataclasses import dataclass
from typing import Final

from outlast.codec.bundle.documents import BUNDLE_FILE, MAX_BUNDLE_FILE, BundleFile
from outlast.codec.bundle.geometry import BlockPlace, Geometry
from outlast.core.addresses import host_of
from outlast.core.errors import NotFoundError
from outlast.sources.base import RangeReader
from outlast.sources.bundle.age import Keyring
from outlast.sources.bundle.media import head_of
from outlast.sources.bundle.opened import OpenBundle
from outlast.sources.http import Getter, Response
from outlast.sources.ranges import read_range
from outlast.sources.statuses import Answer, meaning
from outlast.sources.tuning import TUNING, Tuning

_ABSENT: Final = frozenset({403, 404, 410})
_ROWS: Final = 16
"""Blocks of one request: 16 MiB. Who reads a file in order goes on in the same answer."""
_MOST_IDLE: Final = 8
"""Answers that wait to be read on."""


def open_web(http: Getter, url: str, name: str, timeout: float | None, keys: Keyring) -> OpenBundle:
    """The bundle at `url`, which users call `name`. Raises :class:`NotFoundError` where there is
    none, and :class:`LockedError` where it is encrypted and none of the `keys` opens it.
    """
    with http.get(f"{url}/{BUNDLE_FILE}", timeout=timeout) as response:
        if response.status in _ABSENT:
            raise NotFoundError(f"{name} has no {BUNDLE_FILE}", hint="name the bundle's folder")
        if response.status != 200:
            raise _meaning(response, name, BUNDLE_FILE)
        document = BundleFile.from_bytes(response.read_all(MAX_BUNDLE_FILE, TUNING.large_answer_s))
    contents = document.contents
    return OpenBundle(
        WebParts(http, url, name, contents.geometry), head_of(contents), contents, keys
    )


@dataclass(slots=True)
class _Cursor:
    """An answer that is being read, and the block that comes next in it."""

    reader: RangeReader
    next: BlockPlace
    left: int


class WebParts:
    """The parts of a bundle on a web server: the :class:`~outlast.codec.bundle.stream.Frames` of
    it.
    """

    def __init__(
        self, http: Getter, url: str, name: str, geometry: Geometry, tuning: Tuning = TUNING
    ) -> None:
        self._http = http
        self._url = url
        self._name = name
        self._cut = geometry
        self._tuning = tuning
        self._lock = threading.Lock()
        self._idle: list[_Cursor] = []
        # Bundles are not closed: what is read no further ends with the last who could read on.
        weakref.finalize(self, _close_all, self._idle).atexit = False

    def read(self, place: BlockPlace, block: memoryview, check: memoryview) -> bool:
        cursor = self._cursor(place)
        if cursor is None:
            return False
        try:
            is_here = _fill(cursor.reader, block) and _fill(cursor.reader, check)
        except BaseException:
            cursor.reader.close()
            raise
        cursor.next = BlockPlace(place.part, place.row + 1)
        cursor.left -= 1
        self._put_back(cursor, good=is_here and cursor.left > 0)
        return is_here

    def _cursor(self, place: BlockPlace) -> _Cursor | None:
        """An answer that goes on at a block; None where the server does not have its part."""
        with self._lock:
            for number, cursor in enumerate(self._idle):
                if cursor.next == place:
                    return self._idle.pop(number)
        rows = min(_ROWS, self._cut.rows_of(place.part) - place.row)
        start, stop = self._cut.frame_at(place.row), self._cut.frame_at(place.row + rows)
        path = self._cut.name(place.part)
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        response = self._http.get(f"{self._url}/{path}", headers=headers)
        if response.status != 206:
            response.close()
            if response.status in _ABSENT or response.status == 416:
                return None
            raise _meaning(response, self._name, path)
        try:
            reader = read_range(response, path, self._cut.part_size(place.part), start, stop)
        except BaseException:
            response.close()
            raise
        return _Cursor(reader, place, rows)

    def _put_back(self, cursor: _Cursor, *, good: bool) -> None:
        old = cursor
        if good:
            with self._lock:
                self._idle.append(cursor)
                if len(self._idle) <= _MOST_IDLE:
                    return
                old = self._idle.pop(0)
        old.reader.close()


def _close_all(cursors: list[_Cursor]) -> None:
    while cursors:
        cursors.pop().reader.close()


def _fill(reader: RangeReader, buffer: memoryview) -> bool:
    while buffer:
        count = reader.readinto(buffer)
        if not count:
            return False
        buffer = buffer[count:]
    return True


def _meaning(response: Response, name: str, path: str) -> Exception:
    if response.status == 200:
        return NotFoundError(
            f"{name} does not serve ranges of {path}",
            hint="a bundle needs a web server that does, as nginx and Apache do",
        )
    return meaning(
        Answer(response.status, response.headers, name, host_of(response.url), path=path)
    )
