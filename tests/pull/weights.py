"""Models that are worth compressing: normal weights in bf16, and what people do to them."""

import functools
from array import array
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.realweights import Tensor, to_bf16, write_safetensors

ROWS = 512
WIDTH = 256


@functools.cache
def bf16(seed: int, count: int) -> bytes:
    """Normal weights; one of 4096 values each, so that they are made quickly."""
    random = Random(seed)
    pool = array("H")
    pool.frombytes(to_bf16(array("f", [random.gauss(0, 0.02) for _ in range(4096)]).tobytes()))
    return array("H", random.choices(pool, k=count)).tobytes()


def model(layers: int = 6, *, seed: int = 1, rows: int = ROWS) -> dict[str, Tensor]:
    """An embedding and so many layers of it, of 256 KiB and 512 KiB."""
    found = {"embed.weight": Tensor("BF16", (rows, WIDTH), bf16(seed, rows * WIDTH))}
    for layer in range(layers):
        data = bf16(seed * 1000 + layer, 1024 * WIDTH)
        found[f"layers.{layer}.weight"] = Tensor("BF16", (1024, WIDTH), data)
    return found


def tuned(tensors: Mapping[str, Tensor], *names: str, seed: int = 7) -> dict[str, Tensor]:
    """The same with the last bit of some of the named tensors' weights flipped."""
    random = Random(seed)
    found = dict(tensors)
    for name in names or tensors:
        tensor = found[name]
        words = array("H", tensor.data)
        for index in range(0, len(words), 3):
            words[index] ^= random.getrandbits(1)
        found[name] = Tensor(tensor.dtype, tensor.shape, words.tobytes())
    return found


def packed(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> bytes:
    """The bytes of a safetensors file, which is left at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, tensors, **metadata)
    return path.read_bytes()
