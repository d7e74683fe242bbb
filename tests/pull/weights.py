"""Models that are worth compressing: weights in bf16, and what people do to them."""

from collections.abc import Mapping
from pathlib import Path

from tests.noise import exclusive_or, noise
from tests.realweights import Tensor, write_safetensors

ROWS = 512
WIDTH = 256


_HIGH = bytes(
    sign + exponent
    for sign in (0x00, 0x80)
    for exponent, share in ((0x3C, 70), (0x3B, 30), (0x3D, 20), (0x3A, 8))
    for _ in range(share)
)
"""What the high bytes of weights are like: 256 of them, in their proportions."""
_LAST_BIT = bytes(byte & 1 for byte in range(256))


def bf16(seed: int, count: int) -> bytes:
    """So many weights."""
    random = noise(seed, 2 * count)
    data = bytearray(random)
    data[1::2] = random[1::2].translate(_HIGH)
    return bytes(data)


def model(layers: int = 6, *, seed: int = 1, rows: int = ROWS) -> dict[str, Tensor]:
    """An embedding and so many layers of it, of 256 KiB and 512 KiB."""
    found = {"embed.weight": Tensor("BF16", (rows, WIDTH), bf16(seed, rows * WIDTH))}
    for layer in range(layers):
        data = bf16(seed * 1000 + layer, 1024 * WIDTH)
        found[f"layers.{layer}.weight"] = Tensor("BF16", (1024, WIDTH), data)
    return found


def tuned(tensors: Mapping[str, Tensor], *names: str, seed: int = 7) -> dict[str, Tensor]:
    """The same with the last bit of some of the named tensors' weights flipped."""
    found = dict(tensors)
    for number, name in enumerate(names or tensors):
        tensor = found[name]
        data = bytearray(tensor.data)
        low = data[0::6]  # of each third weight
        data[0::6] = exclusive_or(low, noise(seed + number, len(low)).translate(_LAST_BIT))
        found[name] = Tensor(tensor.dtype, tensor.shape, bytes(data))
    return found


def packed(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> bytes:
    """The bytes of a safetensors file, which is left at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, tensors, **metadata)
    return path.read_bytes()
