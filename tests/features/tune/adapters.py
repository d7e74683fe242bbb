"""A base and an adapter of a few kilobytes, made without torch."""

import json
from pathlib import Path

from outlast.core.manifest import Revision
from outlast.core.records.lineage import LINEAGE_FILE, LineageRecord, MadeFrom, Making
from tests.realweights import Tensor, write_safetensors

MODULE = "model.layers.0.self_attn.q_proj"


def write_base(folder: Path, *, fill: int = 1) -> Path:
    """Files that look like a model's, and are none that could run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "fill": fill}))
    data = bytes([fill]) * (64 * 64 * 4)
    write_safetensors(
        folder / "model.safetensors", {f"{MODULE}.weight": Tensor("F32", (64, 64), data)}
    )
    return folder


def write_adapter(folder: Path, base: Revision | None, *, names: str | None = None) -> Path:
    """An adapter of `base`, with the record of it unless that is None."""
    folder.mkdir(parents=True, exist_ok=True)
    name = names if names is not None else (base.repo.name if base is not None else None)
    config = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": name,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    half = bytes(4 * 64 * 4)
    write_safetensors(
        folder / "adapter_model.safetensors",
        {
            f"base_model.model.{MODULE}.lora_A.weight": Tensor("F32", (4, 64), half),
            f"base_model.model.{MODULE}.lora_B.weight": Tensor("F32", (64, 4), half),
        },
    )
    if base is not None:
        record = LineageRecord(
            Making.ADAPTER, (MadeFrom(base.repo, base.digest, base.commit),), seed=1
        )
        (folder / LINEAGE_FILE).write_bytes(record.to_bytes())
    return folder
