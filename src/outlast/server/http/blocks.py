"""Decoded blocks of capsules: ahead of their clients, shared between them, in bounded memory.

Threads decode; everything else here happens on the event loop, so that nothing needs a lock.
"""

import asyncio
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor

from outlast.codec.format import Block
from outlast.codec.reader import CapsuleReader
from outlast.server.tuning import TUNING, ServerTuning

Key = tuple[CapsuleReader, int]


class Slot:
    """A block that is decoded, or will be. It is pinned while a request is about to send it."""

    def __init__(self, key: Key, block: Block, buffer: bytearray) -> None:
        self.key = key
        self.block = block
        self.buffer = buffer
        self.pins = 0
        self.kept = False
        """Whether it stays for other requests once no request pins it."""
        self.settled = False
        """Whether no thread writes to the buffer any more, and the loop knows it."""
        self.done: asyncio.Future[None]

    async def data(self) -> memoryview:
        """The block's bytes; valid while it is pinned. Raises what decoding it raised."""
        if not self.done.done():
            await asyncio.shield(self.done)  # others wait for the same
        self.done.result()
        return memoryview(self.buffer)[: self.block.length]


class Blocks:
    """The decoded blocks of a server. Their buffers are used again: fresh memory costs as much as
    decoding. The tuning bounds all of them, and those that no request pins.
    """

    def __init__(self, tuning: ServerTuning = TUNING) -> None:
        self._capacity = tuning.decoded
        self._most_kept = tuning.decoded_kept
        self._grain = tuning.decoded_grain
        self._pool = ThreadPoolExecutor(tuning.decode_threads, thread_name_prefix="decode")
        self._slots: dict[Key, Slot] = {}
        self._idle: OrderedDict[Key, Slot] = OrderedDict()
        self._idle_bytes = 0
        self._free: dict[int, list[bytearray]] = {}
        self._used = 0
        self._busy = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def used(self) -> int:
        """Bytes of all buffers."""
        return self._used

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def tidy(self) -> None:
        """Frees the memory that no request used since the last call."""
        if not self._busy:
            while self._idle:
                self._evict()
            self._used -= sum(size * len(found) for size, found in self._free.items())
            self._free.clear()
        self._busy = bool(len(self._slots) - len(self._idle))

    def ahead(self, capsule: CapsuleReader, number: int) -> Slot | None:
        """Pins a block and has it decoded; None where others wait for the room that it takes."""
        if self._waiting and (capsule, number) not in self._slots:
            return None
        return self._pin(capsule, number)

    async def take(self, capsule: CapsuleReader, number: int) -> Slot:
        """The same, once there is room. The caller must not hold a pin while it waits."""
        while (slot := self._pin(capsule, number)) is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._waiting = deque(other for other in self._waiting if other is not waiter)
                self._wake()
                raise
        return slot

    def release(self, slot: Slot, *, keep: bool = False) -> None:
        """Gives a pin back. `keep` says that others may want the block soon."""
        slot.pins -= 1
        slot.kept |= keep
        if slot.pins == 0 and slot.settled:
            self._retire(slot)

    def _pin(self, capsule: CapsuleReader, number: int) -> Slot | None:
        self._busy = True
        key = (capsule, number)
        slot = self._slots.get(key)
        if slot is None:
            block = capsule.directory.block(number)
            buffer = self._buffer(block.length)
            if buffer is None:
                return None
            slot = self._slots[key] = Slot(key, block, buffer)
            self._start(capsule, slot)
        elif self._idle.pop(key, None) is not None:
            self._idle_bytes -= len(slot.buffer)
        slot.pins += 1
        return slot

    def _start(self, capsule: CapsuleReader, slot: Slot) -> None:
        def decode() -> None:
            with memoryview(slot.buffer)[: slot.block.length] as out:
                capsule.decode(slot.block, out)

        def decoded(done: asyncio.Future[None]) -> None:
            slot.settled = True
            if done.cancelled() or done.exception() is not None:
                self._slots.pop(slot.key, None)  # the next request tries again
            if slot.pins == 0:
                self._retire(slot)

        slot.done = asyncio.get_running_loop().run_in_executor(self._pool, decode)
        slot.done.add_done_callback(decoded)

    def _retire(self, slot: Slot) -> None:
        """No request pins it any more: it is kept, or its buffer is free."""
        if slot.kept and self._slots.get(slot.key) is slot:
            self._idle[slot.key] = slot
            self._idle_bytes += len(slot.buffer)
            while self._idle_bytes > self._most_kept:
                self._evict()
        else:
            if self._slots.get(slot.key) is slot:
                del self._slots[slot.key]
            self._free.setdefault(len(slot.buffer), []).append(slot.buffer)
        self._wake()

    def _evict(self) -> None:
        key, slot = self._idle.popitem(last=False)
        del self._slots[key]
        self._idle_bytes -= len(slot.buffer)
        self._free.setdefault(len(slot.buffer), []).append(slot.buffer)

    def _buffer(self, length: int) -> bytearray | None:
        size = -(-length // self._grain) * self._grain
        while not (free := self._free.get(size)):
            if self._used + size <= self._capacity:
                self._used += size
                return bytearray(size)
            others = next((found for found in self._free.values() if found), None)
            if others is not None:
                self._used -= len(others.pop())
            elif self._idle:
                self._evict()
            else:
                return None
        return free.pop()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
