"""Pickles that are a file of another format too, or lie where a reader of archives finds them and a
hasty look does not.
"""

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.intake.formats.canaries import pickled, tarred, zipped

SPRINGS = ("gguf.bin", "gif.bin", "text.bin", "valid.bin", "long-header.bin", "tar.bin")
"""Those that `pickle` itself loads as they are."""
_TENSOR = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}


def both_formats(place: Path) -> dict[str, bytes]:
    """Whole files of another format, which `pickle` loads nevertheless."""
    code = b"0" + pickled(place, 2)
    return {
        "gguf.bin": b"GGUF\x03\0\0\0\0" + code,
        "gif.bin": b"GIF89a\x01\0\x01" + code,
        "text.bin": b"X\x04\0\0\0\0\0\0{" + code + bytes(2000),
        "valid.bin": _safetensors(0x156, b"\n" + code),
        "long-header.bin": _safetensors(0x30056, b"\n" + code),
        "tar.bin": _tar_of(code),
    }


def _safetensors(length: int, data: bytes) -> bytes:
    """A right file, whose length begins with the letter V: a line of text, for a pickle."""
    tensor = {**_TENSOR["a"], "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"a": tensor}).encode().ljust(length)
    return length.to_bytes(8, "little") + header + data


def _tar_of(code: bytes) -> bytes:
    """The header is a text of a pickle, as is the beginning of the first file."""
    info = tarfile.TarInfo("name")
    info.size = len(code) + 5
    head = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    head[:5] = b"X" + (507 + 5).to_bytes(4, "little")
    return _summed(head) + b"~~~~~" + code + bytes(-(len(code) + 5) % 512 + 1024)


def _summed(head: bytearray, *, signed: bool = False, wide: bool = False) -> bytes:
    """A header of tar with its sum: of signed bytes, or written as bytes and not as digits."""
    head[148:156] = b" " * 8
    found = sum(b - 256 if signed and b > 127 else b for b in head)
    head[148:156] = b"\x80" + found.to_bytes(7, "big") if wide else b"%06o\0 " % found
    return bytes(head)


def disguised(place: Path) -> dict[str, bytes]:
    """By name of a file."""
    bare = pickled(place)
    return {
        **both_formats(place),
        **{f"parts{n}.bin": make(bare[:3]) + make(bare[3:]) for n, make in enumerate(_PACKERS)},
        "alone.bin": lzma.compress(bare, lzma.FORMAT_ALONE),
        "contiguous.tar": _tar_with(bare, lambda info: setattr(info, "type", tarfile.CONTTYPE)),
        "other-type.tar": _tar_with(bare, lambda info: setattr(info, "type", b"Z")),
        "behind-a-link.tar": _behind_a_link(bare),
        "said-in-pax.tar": _said_in_pax(bare),
        "signed-sum.tar": _tar_summed(bare, signed=True),
        "wide-sum.tar": _tar_summed(bare, wide=True),
        "tar.safetensors": tarred({"inner.zip": zipped({"a/data.pkl": bare})}),
        "ends-in-garbage.txt": pickled(place, 0)[:-1] + b"\xff",
    }


_PACKERS: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, bz2.compress, lzma.compress)


def _tar_with(data: bytes, change: Callable[[tarfile.TarInfo], object]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("weights")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    info = tarfile.TarInfo("weights")
    info.size = len(data)
    change(info)
    return info.tobuf(tarfile.USTAR_FORMAT) + out.getvalue()[512:]


def _behind_a_link(data: bytes) -> bytes:
    """A link that says it has bytes: readers pass over none, and find a header there."""
    inner = tarred({"weights": data}).rstrip(b"\0")
    inner += bytes(-len(inner) % 512)
    info = tarfile.TarInfo("link")
    info.type, info.linkname = tarfile.SYMTYPE, "x"
    head = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    head[124:136] = b"%011o\0" % len(inner)
    return _summed(head) + inner + bytes(1024)


def _said_in_pax(data: bytes) -> bytes:
    """A header says that the file is longer than its own does."""
    shown = b"hello".ljust(512, b"\0")
    info = tarfile.TarInfo("text")
    info.size = 512
    info.pax_headers = {"size": "5"}
    head = info.tobuf(tarfile.PAX_FORMAT)
    real = bytearray(head[-512:])
    real[124:136] = b"%011o\0" % (512 + len(data) + 1024)
    behind = tarred({"weights": data})
    return head[:-512] + _summed(real) + shown + behind


def _tar_summed(data: bytes, *, signed: bool = False, wide: bool = False) -> bytes:
    whole = tarred({"weights": data})
    head = bytearray(whole[:512])
    head[:2] = "é".encode()
    head[257:265] = bytes(8)  # of the format that is older than POSIX's
    return _summed(head, signed=signed, wide=wide) + whole[512:]
