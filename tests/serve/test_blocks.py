"""The decoded blocks of a server: bounded, shared, and never overwritten while they are sent."""

import asyncio
import random
import threading
from collections import Counter
from dataclasses import replace
from typing import Any, cast

from outlast.codec.format import Block
from outlast.codec.reader import CapsuleReader
from outlast.core.errors import CorruptError
from outlast.server.http.blocks import Blocks
from outlast.server.tuning import TUNING

SIZE = 256 * 1024


class Fake:
    """Stands for a capsule: block n holds the byte n."""

    def __init__(self, bad: int = -1) -> None:
        self.decoded: Counter[int] = Counter()
        self.directory = self
        self._bad = bad
        self._lock = threading.Lock()

    def block(self, number: int) -> Block:
        length = SIZE - number % 3
        return Block(number, 0, number * SIZE, length, 0, 0, 0, 0, 0, 0)

    def decode(self, block: Block, out: memoryview) -> None:
        if block.number == self._bad:
            raise CorruptError("block is damaged")
        out[:] = bytes([block.number]) * block.length
        with self._lock:
            self.decoded[block.number] += 1


def capsule(bad: int = -1) -> tuple[CapsuleReader, Fake]:
    fake = Fake(bad)
    return cast("CapsuleReader", cast("Any", fake)), fake


def test_a_pinned_block_keeps_its_bytes() -> None:
    reader, _ = capsule(bad=40)
    blocks = Blocks(replace(TUNING, decoded=8 * SIZE, decoded_kept=3 * SIZE))

    async def client(seed: int) -> int:
        rng, wrong = random.Random(seed), 0
        for _ in range(40):
            number = rng.randrange(41)
            slot = await blocks.take(reader, number)
            ahead = blocks.ahead(reader, (number + 1) % 41) if rng.random() < 0.5 else None
            if rng.random() < 0.8:
                try:
                    data = await slot.data()
                    await asyncio.sleep(0)
                    wrong += data != bytes([number]) * len(data) or number == 40
                except CorruptError:
                    wrong += number != 40
            for pinned in filter(None, (slot, ahead)):
                blocks.release(pinned, keep=rng.random() < 0.5)
            assert blocks.used <= 8 * SIZE
        return wrong

    async def all_clients() -> int:
        return sum(await asyncio.gather(*(client(seed) for seed in range(24))))

    assert asyncio.run(asyncio.wait_for(all_clients(), 60)) == 0
    blocks.close()


def test_parts_of_a_block_are_decoded_once() -> None:
    reader, fake = capsule()
    blocks = Blocks(replace(TUNING, decoded=8 * SIZE, decoded_kept=4 * SIZE))

    async def part() -> None:
        slot = await blocks.take(reader, 5)
        await slot.data()
        blocks.release(slot, keep=True)

    async def several() -> None:
        await asyncio.gather(*(part() for _ in range(10)))
        await part()
        blocks.tidy()
        blocks.tidy()
        assert blocks.used == 0

    asyncio.run(several())
    assert fake.decoded == {5: 1}
    blocks.close()


def test_who_waits_for_room_gets_it_also_when_others_give_up() -> None:
    reader, _ = capsule()
    blocks = Blocks(replace(TUNING, decoded=SIZE, decoded_kept=0))

    async def run() -> None:
        first = await blocks.take(reader, 1)
        waiting = [asyncio.create_task(blocks.take(reader, n)) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        assert blocks.ahead(reader, 9) is None
        waiting[0].cancel()
        await first.data()
        blocks.release(first)
        for number, task in ((3, waiting[1]), (4, waiting[2])):
            slot = await asyncio.wait_for(task, 10)
            assert (await slot.data())[0] == number
            blocks.release(slot)

    asyncio.run(run())
    blocks.close()
