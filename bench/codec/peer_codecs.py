"""The peers' codecs, for worker.py in the peers' environment."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmz
import numpy as np
import openzl.ext as zl
import zipnn
import zstandard
from openzl.ext import graphs, nodes

from bench.codec import bounds, peer_dedup
from bench.codec.worker import Clock, Codec, Job

_WIDTHS = {"bf16": 2, "fp16": 2, "fp32": 4}
_ZIPNN_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it

REQUESTS: dict[str, Callable[..., Any]] = {
    "bound": bounds.order_0,
    "synthesise": bounds.synthesise,
    "found": peer_dedup.found,
}


def codecs() -> dict[str, Codec]:
    return {
        "memcpy": Copy(),
        "zstd -1": Zstd(1),
        "zstd -3": Zstd(3),
        "zstd -9": Zstd(9),
        "byte planes + zstd -1": Planes(1),
        "zipnn": ZipNN(),
        "OpenZL Huffman": OpenZL(graphs.Huffman),
        "OpenZL FSE": OpenZL(graphs.Fse),
        "lmz": Lmz(),
        "BitX": BitX(),
    }


class Copy:
    """The speed of memory: a copy into memory that is there already."""

    def __init__(self) -> None:
        self._room = bytearray()

    def encode(self, job: Job, clock: Clock) -> bytes:
        self.decode(job, job.data, clock)
        return job.data

    def decode(self, job: Job, packed: bytes, clock: Clock) -> bytearray:
        if len(self._room) != len(job.data):
            self._room = bytearray(len(job.data))
        room = memoryview(self._room)
        with clock.running():
            room[:] = packed
        return self._room


class Zstd:
    """zstd over the bytes as they are."""

    def __init__(self, level: int) -> None:
        self._in = zstandard.ZstdCompressor(level=level)
        self._out = zstandard.ZstdDecompressor()

    def encode(self, job: Job, clock: Clock) -> bytes:
        with clock.running():
            packed: bytes = self._in.compress(job.data)
        return packed

    def decode(self, _: Job, packed: bytes, clock: Clock) -> Any:
        with clock.running():
            return self._out.decompress(packed)


def _planes(data: Any, width: int) -> list[bytes]:
    """Byte 0 of every value, byte 1 of every value …, and what is left at the end."""
    whole = len(data) // width * width
    table = np.frombuffer(data, np.uint8, whole).reshape(-1, width)
    return [*(table[:, n].tobytes() for n in range(width)), bytes(data[whole:])]


def _merged(planes: list[Any], size: int, width: int) -> Any:
    out = np.empty(size, np.uint8)
    whole = size // width * width
    if width == 2:  # twice as fast as what follows
        low, high = (np.frombuffer(plane, np.uint8) for plane in planes[:2])
        values = out[:whole].view("<u2")
        np.copyto(values, high)
        np.left_shift(values, 8, values)
        np.bitwise_or(values, low, values)
    else:
        table = out[:whole].reshape(-1, width)
        for n, plane in enumerate(planes[:-1]):
            table[:, n] = np.frombuffer(plane, np.uint8)
    out[whole:] = np.frombuffer(planes[-1], np.uint8)
    return out


def _joined(parts: list[bytes]) -> bytes:
    sizes = b"".join(len(part).to_bytes(8, "little") for part in parts)
    return b"".join((len(parts).to_bytes(8, "little"), sizes, *parts))


def _parted(packed: bytes) -> list[memoryview]:
    numbers = np.frombuffer(packed, "<u8", 1 + int.from_bytes(packed[:8], "little"))
    at, parts = numbers.nbytes, []
    for size in numbers[1:].tolist():
        parts.append(memoryview(packed)[at : at + size])
        at += size
    return parts


class Planes:
    """A plane for each byte of a value, each through zstd."""

    def __init__(self, level: int) -> None:
        self._in = zstandard.ZstdCompressor(level=level)
        self._out = zstandard.ZstdDecompressor()

    def encode(self, job: Job, clock: Clock) -> bytes:
        with clock.running():
            planes = _planes(job.data, _WIDTHS[job.dtype])
            return _joined([self._in.compress(plane) for plane in planes])

    def decode(self, job: Job, packed: bytes, clock: Clock) -> Any:
        with clock.running():
            planes = [self._out.decompress(part) for part in _parted(packed)]
            return _merged(planes, len(job.data), _WIDTHS[job.dtype])


class BitX:
    """XOR with the base, split into planes, zstd -3: as ZipLLM's BitX does it."""

    def __init__(self) -> None:
        self._planes = Planes(3)

    def encode(self, job: Job, clock: Clock) -> bytes:
        with clock.running():
            difference = self._xor(job, job.data)
        return self._planes.encode(Job(difference, job.dtype), clock)

    def decode(self, job: Job, packed: bytes, clock: Clock) -> Any:
        difference = self._planes.decode(job, packed, clock)
        with clock.running():
            return np.bitwise_xor(difference, np.frombuffer(job.base or b"", np.uint8), difference)

    @staticmethod
    def _xor(job: Job, data: bytes) -> Any:
        assert job.base is not None
        assert len(job.base) == len(data)
        left, right = (np.frombuffer(side, np.uint8) for side in (data, job.base))
        return np.bitwise_xor(left, right).data


class ZipNN:
    """zipnn writes into what it is given: it gets copies, which are not charged to it."""

    def _codec(self, job: Job) -> Any:
        name = _ZIPNN_NAMES[job.dtype]
        return zipnn.ZipNN(input_format="byte", bytearray_dtype=name, threads=1)

    def encode(self, job: Job, clock: Clock) -> bytes:
        codec, data = self._codec(job), bytearray(job.data)
        with clock.running():
            packed = codec.compress(data)
        return bytes(packed)

    def decode(self, job: Job, packed: bytes, clock: Clock) -> Any:
        codec, data = self._codec(job), bytearray(packed)
        with clock.running():
            return codec.decompress(data)


class OpenZL:
    """OpenZL's own split of floats; the exponents, and bf16's signs and fractions, through one of
    its entropy coders, other fractions through what did best of its graphs.
    """

    def __init__(self, coder: Callable[[], Any]) -> None:
        self._coder = coder

    def _compressor(self, dtype: str) -> Any:
        made, coder = zl.Compressor(), self._coder()
        if dtype == "bf16":
            fractions = nodes.ConvertStructToSerial()(made, coder)
            split = nodes.BFloat16Deconstruct()(made, fractions, coder)
            start = nodes.ConvertSerialToNumLE16()(made, split)
        elif dtype == "fp16":
            split = nodes.Float16Deconstruct()(made, graphs.Entropy(), coder)
            start = nodes.ConvertSerialToNumLE16()(made, split)
        else:
            split = nodes.Float32Deconstruct()(made, graphs.FieldLz(), coder)
            start = nodes.ConvertSerialToNumLE32()(made, split)
        made.select_starting_graph(start)
        return made

    def encode(self, job: Job, clock: Clock) -> bytes:
        whole = len(job.data) // _WIDTHS[job.dtype] * _WIDTHS[job.dtype]
        compressor = self._compressor(job.dtype)
        with clock.running():
            context = zl.CCtx()
            context.ref_compressor(compressor)
            context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
            source = zl.Input(zl.Type.Serial, np.frombuffer(job.data, np.uint8, whole))
            packed: bytes = context.compress([source])
        return packed + job.data[whole:]

    def decode(self, job: Job, packed: bytes, clock: Clock) -> Any:
        odd = len(job.data) % _WIDTHS[job.dtype]
        end = len(packed) - odd
        frame = packed[:end] if odd else packed
        with clock.running():
            made = zl.DCtx().decompress(frame)[0].content
        return made.as_bytes() + packed[end:] if odd else made.as_nparray()


class Lmz:
    """lmz (package lmzip) works on files only: these lie in memory. Its CRC is part of it."""

    def __init__(self) -> None:
        where = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(dir=where, prefix="outlast-bench-")

    def _files(self, job: Job) -> tuple[Path, Path]:
        ending = "gguf" if job.dtype == "gguf" else "safetensors"
        return Path(self._folder.name, f"blob.{ending}"), Path(self._folder.name, "packed.lmz")

    def encode(self, job: Job, clock: Clock) -> bytes:
        blob, packed = self._files(job)
        packed.unlink(missing_ok=True)
        blob.write_bytes(job.data)
        with clock.running():
            lmz.compress(str(blob), str(packed), workers=1)
        return packed.read_bytes()

    def decode(self, job: Job, packed: bytes, clock: Clock) -> bytes:
        blob, source = self._files(job)
        blob.unlink(missing_ok=True)
        source.write_bytes(packed)
        with clock.running():
            lmz.decompress(str(source), str(blob), workers=1)
        return blob.read_bytes()
