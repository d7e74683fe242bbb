"""Pickles that make a folder when they are loaded, alone and packed: a test sees that none is."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path


class _Canary:
    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._place),)


def pickled(place: Path, protocol: int = 4) -> bytes:
    """A pickle that makes the folder `place`."""
    return pickle.dumps({"weights": [_Canary(place)]}, protocol)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def array_of_values(data: bytes) -> bytes:
    """An .npy file of Python's values, as numpy writes it."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def canaries(place: Path) -> dict[str, bytes]:
    """By name of a file: what is unsafe in each of the ways that we know."""
    bare = pickled(place)
    torch = zipped({"archive/data.pkl": bare, "archive/data/0": b"\x01" * 999})
    return {
        **{f"protocol{n}.bin": pickled(place, n) for n in range(6)},
        "weights.pt": torch,
        "weights.pth": bare,
        "model.ckpt": zipped({"m/data.pkl": bare}, zipfile.ZIP_DEFLATED),
        "model.safetensors": bare,
        "config.json": pickled(place, 0),
        "notes.txt": bare,
        "noending": pickled(place, 1),
        "long.bin": pickle.dumps(["x" * 300_000, _Canary(place)], 1),
        "longer.bin": pickle.dumps([b"x" * 300_000, _Canary(place)], 4),
        "a.joblib": zlib.compress(bare),
        "b.bin": gzip.compress(bare),
        "c.bin": bz2.compress(bare),
        "d.bin": lzma.compress(bare),
        "old.tar": tarred({"readme": b"hello", "inner/storages": bare}),
        "weights.tar.gz": gzip.compress(tarred({"a/b.txt": b"x", "pytorch_model.bin": bare})),
        "nested.zip": zipped({"a/inner.zip": zipped({"deep/weights.pt": torch})}),
        "hidden.zip": zipped({"picture.png": bare}),
        "values.npy": array_of_values(bare),
        "values.npz": zipped({"x.npy": array_of_values(bare)}),
        "by-name.pkl": b"anything",
        "locked.7z": b"7z\xbc\xaf\x27\x1c" + bytes(99),
        "locked.zst": b"\x28\xb5\x2f\xfd" + bytes(99),
        "cut.zip": torch[:-30],
        "deep.zip": _deep(bare),
    }


def _deep(data: bytes) -> bytes:
    for number in range(9):
        data = zipped({f"{number}": data})
    return data
