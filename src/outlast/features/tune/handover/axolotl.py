"""The configuration of axolotl for a LoRA on an archived base. Its names are axolotl's."""

from pathlib import Path
from typing import Any

from outlast.features.tune.options import ALL_LINEAR, TuneOptions


def axolotl_config(folder: Path, kind: str, options: TuneOptions, *, held: float) -> dict[str, Any]:
    """For the rows in `folder`, which are of `kind` (the first key of each); `held`: which part of
    them is held out. axolotl chooses by its own seed which those are.
    """
    lora: dict[str, Any] = {
        "adapter": "lora",
        "lora_r": options.rank,
        "lora_alpha": options.alpha,
        "lora_dropout": options.dropout,
    }
    if ALL_LINEAR in options.targets:
        lora["lora_target_linear"] = True
    else:
        lora["lora_target_modules"] = list(options.targets)
    length = {"max_steps": options.steps} if options.steps else {"num_epochs": options.epochs}
    return {
        "base_model": str(folder / "base"),
        "trust_remote_code": False,
        "datasets": [{"path": str(folder / "rows.jsonl"), "ds_type": "json", **_rows(kind)}],
        "val_set_size": round(held, 6),
        "train_on_inputs": False,
        "sequence_len": options.length,
        "sample_packing": False,
        **lora,
        "micro_batch_size": options.batch,
        "gradient_accumulation_steps": 1,
        **length,
        "learning_rate": options.rate,
        "lr_scheduler": "linear",
        "warmup_ratio": options.warmup,
        "optimizer": "adamw_torch",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": "auto",
        "seed": options.seed,
        "output_dir": str(folder / "adapter"),
    }


def _rows(kind: str) -> dict[str, Any]:
    if kind == "messages":
        return {"type": "chat_template", "field_messages": "messages"}
    if kind == "text":
        return {"type": "completion", "field": "text"}
    form = {"field_instruction": "prompt", "field_output": "completion"}
    plain = {"format": "{instruction}", "no_input_format": "{instruction}"}
    return {"type": {**form, **plain}}
