"""`python -m bench.codec.worker MODULE [ARGUMENT…]`: codecs in a process of their own, in whatever
environment they need. Requests and answers are lines of JSON; client.py asks.

MODULE has `codecs(*arguments)`, which names those it has. Speeds are in MB of the uncompressed form
by CPU-seconds of this process, and memory that was used before is used again (client.py tells the
allocator so): what is measured is the codec and not the kernel that clears pages for it.
"""

import contextlib
import importlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_ENOUGH = 0.1
"""CPU-seconds that a sample takes at least."""
_MEGA = 1_000_000


class Clock:
    """Sums up the CPU-seconds that are spent inside of it."""

    def __init__(self) -> None:
        self.spent = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        started = time.process_time()
        yield
        self.spent += time.process_time() - started


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be coded: the blob, the dtype most of it has, and the base it was made from."""

    data: bytes
    dtype: str
    base: bytes | None = None


class Codec(Protocol):
    """A contestant. Only what it does with the clock running is measured."""

    def encode(self, job: Job, clock: Clock) -> bytes: ...
    def decode(self, job: Job, packed: bytes, clock: Clock) -> Any:
        """The blob, as anything that holds bytes."""


@dataclass
class Worker:
    """What was loaded, and the packed form each codec made of it."""

    codecs: Mapping[str, Codec]
    job: Job = field(default_factory=lambda: Job(b"", ""))
    packed: dict[str, bytes] = field(default_factory=dict)

    def names(self) -> list[str]:
        return list(self.codecs)

    def load(self, data: str, dtype: str, base: str | None) -> None:
        self.packed.clear()
        base_data = Path(base).read_bytes() if base else None
        self.job = Job(Path(data).read_bytes(), dtype, base_data)

    def pack(self, codec: str) -> int:
        """The size of what it makes of the blob, once it gave the blob back unharmed."""
        contestant, clock = self.codecs[codec], Clock()
        self.packed[codec] = packed = contestant.encode(self.job, clock)
        restored = memoryview(contestant.decode(self.job, packed, clock)).cast("B")
        if restored != memoryview(self.job.data):
            raise ValueError(f"{codec} does not restore the blob")
        return len(packed)

    def time(self, codec: str, direction: str) -> float:
        """MB/s."""
        contestant, clock, times = self.codecs[codec], Clock(), 0
        while clock.spent < _ENOUGH:
            if direction == "encode":
                contestant.encode(self.job, clock)
            else:
                contestant.decode(self.job, self.packed[codec], clock)
            times += 1
        return len(self.job.data) * times / _MEGA / clock.spent


def main() -> None:
    """Answers until there are no more requests."""
    module = importlib.import_module(sys.argv[1])
    worker = Worker(module.codecs(*sys.argv[2:]))
    more = getattr(module, "REQUESTS", {})
    replies = sys.stdout
    sys.stdout = sys.stderr  # what the codecs print is no reply
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            reply = {"reply": (more.get(name) or getattr(worker, name))(*arguments)}
        except Exception as error:  # noqa: BLE001 -- whatever a peer raises, it says so
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
