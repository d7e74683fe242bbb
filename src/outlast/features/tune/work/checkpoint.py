"""Checkpoints: all that a training needs to go on as if it had never ended.

One file, replaced atomically: the sha256 of the rest (32 bytes), then safetensors with the
adapter's weights, the two moments of Adam for each, the states of the random numbers, and the rest
as JSON. No pickle.
"""

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from outlast.engines.worker import RefusedError
from outlast.features.tune.work.names import CHECKPOINT
from outlast.store import disk

DISK_FULL: Final = "disk-full"
"""The hint of a refusal because the disk is full: the parent has an error of its own for it."""
_DIGEST: Final = 32


@dataclass(slots=True)
class TrainedSoFar:
    """Where a training is: `key` names what is trained how; `step` steps are done; `before` is the
    held-out loss of the base, `losses` those of the steps (nats per token).
    """

    key: str
    step: int = 0
    before: float | None = None
    losses: list[float] = field(default_factory=list)


def save(folder: Path, progress: TrainedSoFar, weights: Mapping[str, Any], optimizer: Any) -> int:
    """Writes the checkpoint durably in place of the last; its bytes. Raises :class:`RefusedError`
    where the disk is full: the last one stays.
    """
    state = json.dumps(asdict(progress)).encode()
    tensors = {
        "rng": torch.get_rng_state(),
        "state": torch.frombuffer(bytearray(state), dtype=torch.uint8),
    }
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    for name, weight in weights.items():
        tensors[f"w.{name}"] = weight.detach().contiguous()
        if moments := optimizer.state.get(weight):
            tensors[f"m.{name}"] = moments["exp_avg"].contiguous()
            tensors[f"v.{name}"] = moments["exp_avg_sq"].contiguous()
    body = to_bytes(tensors)
    data = bytearray(hashlib.sha256(body).digest() + body)
    temp = folder / f".{CHECKPOINT}.new"
    try:
        disk.remove(temp)
        disk.write_temp(temp, data, disk.PRIVATE)
        disk.publish(temp, folder / CHECKPOINT)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise RefusedError(
                f"a checkpoint needs {len(data)} bytes; the disk of {folder} is full", DISK_FULL
            ) from error
        raise
    return len(data)


def load(folder: Path, key: str, weights: Mapping[str, Any], optimizer: Any) -> TrainedSoFar | None:
    """Takes up the last checkpoint of what `key` names; None, and nothing is changed, where there
    is none that is whole.
    """
    try:
        data = (folder / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return None
    body = data[_DIGEST:]
    if hashlib.sha256(body).digest() != data[:_DIGEST]:
        return None
    tensors = from_bytes(body)
    progress = TrainedSoFar(**json.loads(bytes(tensors["state"].numpy())))
    if progress.key != key or any(
        f"w.{name}" not in tensors or tensors[f"w.{name}"].shape != weight.shape
        for name, weight in weights.items()
    ):
        return None
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"w.{name}"])
            if f"m.{name}" in tensors:
                optimizer.state[weight] = {
                    "step": torch.tensor(float(progress.step)),
                    "exp_avg": tensors[f"m.{name}"].to(weight.device),
                    "exp_avg_sq": tensors[f"v.{name}"].to(weight.device),
                }
    torch.set_rng_state(tensors["rng"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return progress
