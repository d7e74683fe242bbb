"""Blocks on their way through several threads, in memory that is used again: fresh pages cost as
much as hashing what is in them.
"""

import queue
import threading
from collections.abc import Callable

from outlast.core.closing import Closing


class Lent(Closing):
    """A block, for as long as it has users: the one that took it, and those that `keep` it. As a
    context manager it is `done` with in the end.
    """

    def __init__(self, data: memoryview, give_back: Callable[[], object] = bool) -> None:
        self.data = data
        self._give_back = give_back
        self._users = 1
        self._lock = threading.Lock()

    def keep(self) -> "Lent":
        """One more user, which calls `done` in the end."""
        with self._lock:
            self._users += 1
        return self

    def done(self) -> None:
        """One user fewer; behind the last one the memory is used again."""
        with self._lock:
            self._users -= 1
            is_last = not self._users
        if is_last:
            self._give_back()

    def close(self) -> None:
        self.done()


class Buffers:
    """Up to `most` blocks of `size` bytes, made when they are first needed. Thread-safe."""

    def __init__(self, size: int, most: int) -> None:
        self._size = size
        self._free: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
        for _ in range(most):
            self._free.put(None)

    def take(self, length: int) -> Lent:
        """A block of `length` bytes, whatever is in them; waits until one is free."""
        memory = self._free.get() or bytearray(self._size)
        return Lent(memoryview(memory)[:length], lambda: self._free.put(memory))
