"""What must hold for any bytes that are said to be a container or a capsule.

An input is one byte that says what it is, and the bytes.
"""

import functools
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from outlast.codec import format as fmt
from outlast.codec import kernels
from outlast.codec.cursor import WINDOW_BYTES
from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader
from outlast.codec.tensors import parse
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError, NotArchivedError
from tests.codec.container_files import parsed
from tests.store.build import check_error

CONTAINER, AS_IT_IS, MENDED = range(3)
KIB, MIB = 1 << 10, 1 << 20
READ_AT_ONCE: Final = 4 * MIB
SECONDS: Final = 10.0
"""Of one thread, for one input: many times what any takes where memory is traced, and far less than
an input that is made to be slow would."""
PATTERN: Final = bytes(
    byte for at in range(4096) for byte in struct.pack("<f", 0.01 * (at * 40503 % 4096 - 2048))
)
"""What every base is made of, over and over."""

_TRAILER: Final = struct.Struct("<8sHHIIIQQ32sQ")
_ENTRY: Final = struct.Struct("<IQ")


class Repeated:
    """A base of any size that takes no memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        assert 0 <= offset <= offset + len(buffer) <= self.size
        at = offset % len(PATTERN)
        copies = PATTERN * (len(buffer) // len(PATTERN) + 2)
        buffer[:] = copies[at : at + len(buffer)]


@contextmanager
def bounded(memory: int) -> Iterator[None]:
    """At most ten seconds of this thread's, and `memory` bytes. Memory is watched where tracemalloc
    runs: to start and to stop it costs memory that does not come back.
    """
    before = 0
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
    started = time.thread_time()
    yield
    assert time.thread_time() - started < SECONDS, f"more than {SECONDS:.0f} seconds"
    if tracemalloc.is_tracing():
        peak = tracemalloc.get_traced_memory()[1] - before
        assert peak < memory, f"{peak} bytes of memory, {memory} are declared"


def check(data: bytes) -> None:
    """Raises what the code under test should not have raised, or AssertionError."""
    if not data:
        return
    what, content = data[0] % 3, data[1:]
    if what == CONTAINER:
        check_container(content)
    else:
        check_capsule(mended(content) if what == MENDED else content)


def check_container(data: bytes) -> None:
    with bounded(12 * len(data) + WINDOW_BYTES + 64 * KIB):
        parsed(data)
    with bounded(12 * len(data) + WINDOW_BYTES + 64 * KIB):  # one that is cut short
        parse(lambda offset, length: data[offset : offset + length], 1 << 60)


def check_capsule(data: bytes) -> None:
    # A repeated base takes up to twice a block; of the blob, READ_AT_ONCE are held.
    with bounded(32 * len(data) + 4 * READ_AT_ONCE):
        _refuses_or(lambda: read_all(data))


def _refuses_or(run: Callable[[], None]) -> None:
    try:
        run()
    except (MalformedError, CorruptError, NotArchivedError) as error:
        refused = error
    else:
        return
    check_error(refused)


def read_all(data: bytes, *, refused: bool = True) -> None:
    """`refused`: blocks that are damaged are what was expected."""
    sizes: dict[Digest, int] = {}

    def find(sha256: Digest) -> Repeated | None:
        return Repeated(sizes[sha256]) if sha256 in sizes else None

    reader = CapsuleReader(InMemory(data), find)
    sizes |= {base.sha256: base.size for base in reader.directory.bases}
    assert len(reader.directory.pack()) == reader.directory.packed_size
    size = reader.size
    for offset, length in ((0, READ_AT_ONCE), (size // 2, 3 * KIB), (max(size - 99, 0), 99)):
        out = bytearray(min(length, size - offset))
        fill = functools.partial(reader.readinto, offset, memoryview(out))
        if refused:
            _refuses_or(fill)
        else:
            fill()
    for _ in reader.damage():
        pass


# ---------------------------------------------------------------- checksums


def mended(capsule: bytes) -> bytes:
    """The capsule with the checksums of what is in it, and the second trailer twice."""
    end = len(capsule) - fmt.TRAILER_BYTES
    if end < fmt.TRAILER_BYTES:
        return capsule
    fields = list(_TRAILER.unpack_from(capsule, end))
    size, blocks = fields[6], fields[5]
    body = bytearray(capsule[: end - fmt.TRAILER_BYTES])
    if size <= len(body):
        _mend_entries(body, len(body) - size, len(body), blocks)
        fields[9] = kernels.xxh3(bytes(body[len(body) - size :]))
    fields[0] = b"OLC.END\n"
    trailer = _TRAILER.pack(*fields)
    return bytes(body) + 2 * (trailer + struct.pack("<Q", kernels.xxh3(trailer)))


def _mend_entries(body: bytearray, begin: int, end: int, blocks: int) -> None:
    at, payload = end - blocks * _ENTRY.size, len(fmt.HEAD)
    if at < begin:
        return
    while at + _ENTRY.size <= end:
        word, _ = _ENTRY.unpack_from(body, at)
        length = word & 0xFFFFFF
        checksum = kernels.xxh3(bytes(body[payload : payload + length]))
        _ENTRY.pack_into(body, at, word, checksum)
        payload += length
        at += _ENTRY.size
