"""Our codec, for worker.py: once for every SIMD path."""

import importlib
from types import ModuleType

from bench.codec.worker import Clock, Codec, Job


def codecs(module: str) -> dict[str, Codec]:
    """`module` is bench.codec.ours, or another with the same functions."""
    ours = importlib.import_module(module)
    return {path: Ours(ours, path) for path in ours.paths()}


class Ours:
    """Decodes into memory that is there already, as it does when it serves."""

    def __init__(self, module: ModuleType, path: str) -> None:
        self._module = module
        self._path = path
        self._room = bytearray()

    def encode(self, job: Job, clock: Clock) -> bytes:
        self._module.use(self._path)
        with clock.running():
            packed: bytes = self._module.encode(job.data, job.base)
        return packed

    def decode(self, job: Job, packed: bytes, clock: Clock) -> bytearray:
        self._module.use(self._path)
        if len(self._room) != len(job.data):
            self._room = bytearray(len(job.data))
        with clock.running():
            self._module.decode_into(packed, self._room, job.base)
        return self._room
