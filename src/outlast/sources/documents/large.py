"""JSON documents of sources, and the memory that all of them take together: a value takes up to 60
times its bytes, and a mirror asks a dozen sources at once.

Small documents are read as they come. The bytes of larger ones share a room, and one of them at a
time is parsed and made into what is kept of it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from outlast.core.errors import ExhaustedError
from outlast.core.manifest import MAX_JSON_CONTAINERS, load_json
from outlast.sources.http import Response
from outlast.sources.in_time import check_ended
from outlast.sources.tuning import TUNING

T = TypeVar("T")
Claim = Callable[[int, float], None]
"""Waits until there is room for so many bytes, up to so many seconds. Raises
:class:`ExhaustedError`.
"""
_LOOK: Final = 0.1
"""Between two looks at whether a question that waits was ended (s)."""


class Room:
    """So many bytes, shared. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def shared(self) -> Iterator[Claim]:
        """What is claimed in the block is free after it. One claim a block: who held a part and
        waited for more could wait for itself.
        """
        claimed = 0

        def claim(size: int, seconds: float) -> None:
            nonlocal claimed
            size = min(size, self._size)
            until = time.monotonic() + seconds
            with self._changed:
                while self._left < size:
                    check_ended()
                    if time.monotonic() > until:
                        raise ExhaustedError(
                            "the memory for large answers of sources is in use", retry_after=5.0
                        )
                    self._changed.wait(_LOOK)
                self._left -= size
                claimed += size

        try:
            yield claim
        finally:
            with self._changed:
                self._left += claimed
                self._changed.notify_all()


ROOM: Final = Room(TUNING.large_documents)
_PARSING: Final = threading.Lock()


@contextlib.contextmanager
def parsing(size: int) -> Iterator[None]:
    """For the time in which a document of `size` bytes is parsed and read: no other large one is.
    What the block leaves behind must not be the parsed values. Nothing is waited for in it.
    """
    with contextlib.nullcontext() if size <= TUNING.small_document else _PARSING:
        yield


def read_json(
    response: Response,
    limit: int,
    within: float,
    read: Callable[[Any], T],
    *,
    containers: int = MAX_JSON_CONTAINERS,
    check: Callable[[bytes], object] = bool,
) -> T:
    """What `read` makes of the JSON in an answer of up to `limit` bytes, which comes within
    `within` seconds and has as many `containers` at most. `check` gets the bytes before: it may
    raise.
    """
    with ROOM.shared() as claim:
        data = response.read_all(limit, within, claim)
        check(data)
        with parsing(len(data)):
            return read(load_json(data, limit, containers=containers))
