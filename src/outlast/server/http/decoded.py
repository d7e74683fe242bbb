"""Sending a span of a capsule's blob: blocks are decoded in threads while others are sent."""

import asyncio
import os
from collections import deque
from collections.abc import Callable

from outlast.codec.reader import CapsuleReader
from outlast.server.http.blocks import Blocks, Slot
from outlast.server.http.pace import Pace
from outlast.server.tuning import TUNING, ServerTuning


async def send_decoded(
    transport: asyncio.Transport,
    blob: tuple[CapsuleReader, Blocks],
    span: tuple[int, int],
    *,
    stall: float,
    sent: Callable[[int], None],
    pace: Pace | None = None,
    tuning: ServerTuning = TUNING,
) -> int:
    """Sends the bytes `span` (start, stop) of a capsule's blob; how many of them went out.

    Fewer went where the client is gone or closing, or took no byte for `stall` seconds. `sent` is
    told of every part. The transport must have been flushed. Raises what decoding a block raises:
    then its bytes, and what follows, did not go out.
    """
    run = _DecodedRun(
        _Socket(transport),
        blob,
        span,
        sent=sent,
        patience=min(tuning.patience, stall),
        pace=pace,
        tuning=tuning,
    )
    try:
        return await run.run(stall)
    finally:
        run.close()


class _Socket:
    """Writes to a transport's socket past its buffer."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._broken = False
        # A descriptor of our own: the loop refuses those that belong to a transport.
        self._fd = os.dup(transport.get_extra_info("socket").fileno())

    def close(self) -> None:
        os.close(self._fd)

    @property
    def is_gone(self) -> bool:
        return self._broken or self._transport.is_closing()

    def _write(self, data: memoryview) -> int:
        """How much the kernel took; 0 for now, or because the client is gone."""
        try:
            return os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except ConnectionError:
            self._broken = True
            return 0

    async def send(self, data: memoryview, patience: float) -> int:
        """How much of `data` went out: all, unless the client is gone, or took nothing for
        `patience` seconds. One system call a wake-up, so that clients share the loop.
        """
        total, data = len(data), data[self._write(data) :]
        if not data:
            await asyncio.sleep(0)
            return total
        done: asyncio.Future[None] = self._loop.create_future()
        progress = self._loop.time()
        watch: asyncio.TimerHandle

        def ready() -> None:
            nonlocal data, progress
            data, progress = data[self._write(data) :], self._loop.time()
            if (not data or self.is_gone) and not done.done():
                done.set_result(None)

        def check() -> None:
            nonlocal watch
            quiet = self._loop.time() - progress
            if quiet < patience and not self.is_gone:
                watch = self._loop.call_later(patience - quiet, check)
            elif not done.done():
                done.set_result(None)

        watch = self._loop.call_later(patience, check)
        self._loop.add_writer(self._fd, ready)
        try:
            await done
        finally:
            watch.cancel()
            self._loop.remove_writer(self._fd)
        return total - len(data)

    async def wait(self, seconds: float) -> bool:
        """Waits until the kernel would take more; False where it does not within `seconds`."""
        ready = asyncio.Event()
        self._loop.add_writer(self._fd, ready.set)
        try:
            async with asyncio.timeout(seconds):
                await ready.wait()
        except TimeoutError:
            return False
        finally:
            self._loop.remove_writer(self._fd)
        return True


class _DecodedRun:
    """One run. It pins the block that it sends and a few that follow."""

    def __init__(
        self,
        socket: _Socket,
        blob: tuple[CapsuleReader, Blocks],
        span: tuple[int, int],
        *,
        sent: Callable[[int], None],
        patience: float,
        pace: Pace | None,
        tuning: ServerTuning,
    ) -> None:
        self._tuning = tuning
        self._patience = patience
        self._pace = pace
        self._allowed = 0
        self._socket = socket
        self._capsule, self._blocks = blob
        self._position, self._stop = span
        self._sent = sent
        self._last = self._capsule.directory.block_at(self._stop - 1) if self._stop else -1
        self._pinned: deque[Slot] = deque()

    def close(self) -> None:
        self._let_go()
        self._socket.close()

    def _let_go(self) -> None:
        while self._pinned:
            self._blocks.release(self._pinned.popleft(), keep=True)

    async def run(self, stall: float) -> int:
        start = self._position
        while self._position < self._stop and not self._socket.is_gone:
            await self._wait_turn()
            slot = await self._next()
            data = await slot.data()
            offset = slot.block.offset
            rest = data[self._position - offset : self._stop - offset]
            part = rest[: self._allowed]
            count = await self._socket.send(part, self._patience)
            self._position += count
            self._allowed -= count
            self._sent(count)
            if count < len(part) and not self._socket.is_gone:
                # It is slow: others may have the memory, and it gets its block again later.
                self._let_go()
                if not await self._socket.wait(max(0.0, stall - self._patience)):
                    break
                continue
            if count < len(rest):  # its turn is over
                continue
            self._pinned.popleft()
            # If only a part of the block went out, another request may want the rest soon.
            self._blocks.release(slot, keep=len(rest) < len(data))
        return self._position - start

    async def _wait_turn(self) -> None:
        """Waits until some bytes may go."""
        if self._allowed:
            return
        self._allowed, delay = self._stop - self._position, 0.0
        if self._pace is not None:
            self._allowed, delay = self._pace.reserve(self._allowed)
        if delay:
            self._let_go()  # others may have the memory meanwhile
            await asyncio.sleep(delay)

    async def _next(self) -> Slot:
        """The block at the position, pinned, with those behind it under way."""
        number = self._capsule.directory.block_at(self._position)
        if not self._pinned:
            self._pinned.append(await self._blocks.take(self._capsule, number))
        bytes_ahead = sum(slot.block.length for slot in self._pinned)
        for following in range(number + len(self._pinned), self._last + 1):
            if len(self._pinned) > self._tuning.blocks_ahead:
                break
            if bytes_ahead > self._tuning.bytes_ahead:
                break
            slot = self._blocks.ahead(self._capsule, following)
            if slot is None:
                break
            self._pinned.append(slot)
            bytes_ahead += slot.block.length
        return self._pinned[0]
