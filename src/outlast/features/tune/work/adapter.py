"""An adapter as files: what PEFT reads, in bytes that follow from its values alone."""

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import peft
from safetensors.torch import save as to_bytes

from outlast.features.tune.work.names import CONFIG, WEIGHTS
from outlast.store import disk


def write_adapter(model: Any, folder: Path, base: str, commit: str | None) -> None:
    """Writes both files, durably. PEFT would note the folder that the base was loaded from; this
    notes the base's name and commit, which mean something elsewhere.
    """
    state = peft.get_peft_model_state_dict(model)
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    _write(folder / WEIGHTS, to_bytes(tensors, {"format": "pt"}))
    config = model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": base, "revision": commit, "inference_mode": True}
    text = json.dumps(plain(config), indent=2, sort_keys=True)
    _write(folder / CONFIG, text.encode() + b"\n")


def plain(value: Any) -> Any:
    """As plain JSON; sets are sorted: their order changes from process to process."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _write(path: Path, data: bytes) -> None:
    temp = path.with_name(f".{path.name}.new")
    disk.remove(temp)
    disk.write_temp(temp, data, disk.PRIVATE)
    disk.publish(temp, path)
