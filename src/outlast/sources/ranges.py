"""Readers for answers to requests for a range of a file."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from outlast.core.addresses import host_of
from outlast.core.errors import IntegrityError, MalformedError
from outlast.core.manifest import FileEntry
from outlast.sources.base import RangeReader
from outlast.sources.http import Response
from outlast.sources.redirects import Redirects
from outlast.sources.statuses import OTHER

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})(?:/(\d{1,19}|\*))?\Z")
_SIZE_ALONE = re.compile(r"bytes \*/(\d{1,19})\Z")


def ask_for_range(ask: Callable[[], Response], what: str, size: int) -> Response:
    """The answer of `ask`, which requests bytes that lie within `what`, a file of `size` bytes.
    Raises :class:`IntegrityError` where HTTP 416 names another size twice. Once proves nothing:
    caches and proxies answer so by mistake, and a file may be replaced at that moment.
    """
    response = ask()
    other = _other_size(response, size)
    if other is None:
        return response
    response.close()
    response = ask()
    if _other_size(response, size) == other:
        response.close()
        raise IntegrityError(f"{what} has {other} bytes there, not {size}")
    return response


def _other_size(response: Response, size: int) -> int | None:
    """The size that an HTTP 416 names, if it is another one."""
    match = _SIZE_ALONE.match(response.headers.get("Content-Range", ""))
    if response.status != 416 or match is None or int(match[1]) == size:
        return None
    return int(match[1])


def is_page_for(response: Response, entry: FileEntry) -> bool:
    """Whether a web page came in place of a file. The file itself may be one."""
    kind = response.headers.get("Content-Type", "").strip().lower()
    if response.status != 200 or not kind.startswith(("text/html", "application/xhtml")):
        return False
    if response.length is None or response.encoding:
        return not entry.path.lower().endswith((".html", ".htm", ".xhtml"))
    return response.length != entry.size


def refuse_encoded(response: Response, entry: FileEntry) -> None:
    """Raises :class:`MalformedError` where a file comes compressed though asked not to."""
    if response.encoding:
        raise MalformedError(
            f"{host_of(response.url)} encodes {entry.path!r} ({response.encoding!r}) though "
            "asked not to",
            hint=f"the server, or a proxy on the way, compresses files; {OTHER}",
        )


def read_range(response: Response, what: str, size: int, start: int, stop: int) -> RangeReader:
    """A reader of the bytes `start` to `stop` (exclusive) of `what`, which has `size` bytes; of
    all of them where the answer is the whole file. Raises :class:`IntegrityError` where the
    answer is of a file of another size, :class:`MalformedError` where it is of another range.
    """
    if response.status == 200:
        if response.length not in (None, size):
            raise IntegrityError(f"{what} has {response.length} bytes there, not {size}")
        return _HttpRange(response, 0, size)
    said = response.headers.get("Content-Range", "")[:60]
    match = _CONTENT_RANGE.match(said)
    if match is None:
        raise MalformedError(f"{what}: Content-Range does not say which bytes come: {said!r}")
    if (int(match[1]), int(match[2])) != (start, stop - 1):
        raise MalformedError(f"{what}: {said!r} is sent, not {start}-{stop - 1} as asked")
    if match[3] in {None, "*"}:  # without a size, the length has to fit
        if response.length != stop - start:
            raise MalformedError(f"{what}: the length of the answer is not that of {said!r}")
    elif int(match[3]) != size:
        raise IntegrityError(f"{what} has {match[3]} bytes there, not {size}")
    return _HttpRange(response, start, stop - start)


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A file at `url` of the source that goes by the name `source`. `ask` asks the source itself
    for that URL, with the headers that it is given; `check` raises where an answer is not the file.
    """

    url: str
    entry: FileEntry
    source: str
    ask: Callable[[Mapping[str, str]], Response]
    check: Callable[[Response], None]


def open_range(signed: Redirects, wanted: FileRequest, start: int, stop: int) -> RangeReader:
    """The bytes `start` to `stop` (exclusive) of a file, from where `signed` knows that it is."""
    entry = wanted.entry
    headers: dict[str, str] = {}
    if (start, stop) != (0, entry.size):
        headers["Range"] = f"bytes={start}-{stop - 1}"
    response = ask_for_range(
        lambda: signed.get(wanted.url, headers, lambda: wanted.ask(headers)),
        f"{wanted.source}: {entry.path!r}",
        entry.size,
    )
    try:
        wanted.check(response)
        return read_range(response, repr(entry.path), entry.size, start, stop)
    except BaseException:
        response.close()
        signed.forget(wanted.url)  # it may have led to a page that wants a login
        raise


class _HttpRange:
    """A body that is known to start at `start` and to hold `length` bytes."""

    def __init__(self, response: Response, start: int, length: int) -> None:
        self._response = response
        self._left = length
        self.start = start

    def readinto(self, buffer: memoryview) -> int:
        count = self._response.readinto(buffer[: self._left]) if self._left else 0
        self._left -= count
        return count

    def close(self) -> None:
        self._response.close()
