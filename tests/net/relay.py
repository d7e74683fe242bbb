"""`python -m tests.net.relay`: a line between two namespaces with delay, jitter and loss, packet by
packet, for kernels that cannot do it. Its ends are tun devices called `relay`.

Lines on stdin: `cut` (packets vanish), `mend`. `ready` is printed when both ends are there.
"""

import argparse
import contextlib
import fcntl
import os
import selectors
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from random import Random

from tests.net.enter import enter

DEVICE = "relay"
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001
_LARGEST = 65535


@dataclass
class _End:
    """One end: where what arrived at the other leaves."""

    descriptor: int
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    free_at: float = 0.0


@dataclass
class _Line:
    """Seconds of delay and jitter (which never reorders), the share that is lost, bytes/s of each
    direction (0: any), and seconds of packets that wait for their turn at most.
    """

    delay: float
    jitter: float
    loss: float
    rate: float
    random: Random
    patience: float = 0.2
    cut: bool = False

    def take(self, packet: bytes, end: _End, now: float) -> None:
        if self.cut or self.random.random() < self.loss:
            return
        start = max(now, end.free_at)
        if start - now > self.patience:
            return
        end.free_at = start + (len(packet) / self.rate if self.rate else 0.0)
        due = end.free_at + self.delay + self.random.random() * self.jitter
        if end.queue:
            due = max(due, end.queue[-1][0])
        end.queue.append((due, packet))


def _open(namespace: str) -> int:
    enter(namespace)
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _TUN_WITHOUT_HEADER))
    return descriptor


def _run(line: _Line, ends: tuple[_End, _End]) -> None:
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    for end, other in (ends, ends[::-1]):
        selector.register(end.descriptor, selectors.EVENT_READ, other)
    while True:
        due = min((end.queue[0][0] for end in ends if end.queue), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        for key, _ in selector.select(wait):
            if key.data is None:
                said = os.read(key.fd, 100)
                if not said:
                    return
                line.cut = said.split()[-1] == b"cut"
                continue
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    line.take(os.read(key.fd, _LARGEST), key.data, time.monotonic())
        now = time.monotonic()
        for end in ends:
            while end.queue and end.queue[0][0] <= now:
                _, packet = end.queue.popleft()
                with contextlib.suppress(OSError):  # its device is down
                    os.write(end.descriptor, packet)


def main() -> None:
    """Relays until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("namespaces", nargs=2)
    for name in ("delay", "jitter", "loss", "rate"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ends = tuple(_End(_open(name)) for name in options.namespaces)
    print("ready", flush=True)
    line = _Line(options.delay, options.jitter, options.loss, options.rate, Random(options.seed))
    _run(line, (ends[0], ends[1]))


if __name__ == "__main__":
    main()
