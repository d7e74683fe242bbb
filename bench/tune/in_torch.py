"""What is measured inside the environment that has torch; each part prints one line of JSON.

`python -m bench.tune.in_torch base FOLDER` writes SmolLM2 as bf16 safetensors, dequantised from its
GGUF file. `… steps FOLDER PAIRS` measures steps of ours and of a plain loop around PEFT.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from outlast.features.tune.data import read_rows
from outlast.features.tune.options import TuneOptions
from outlast.features.tune.work.base_model import BaseModel, save_dequantised
from outlast.features.tune.work.tokens import tokenise
from outlast.features.tune.work.train import Lessons, Training, make_adapter, padded
from tests.realweights import smollm2_gguf

THREADS = 2
STEPS = 3
OPTIONS = TuneOptions(batch=4, held_out=0.0, threads=THREADS, steps=STEPS)


def write_base(folder: Path) -> dict[str, Any]:
    """The model with configuration and tokenizer."""
    base = BaseModel(str(smollm2_gguf()))
    save_dequantised(base.weights("cpu").to(torch.bfloat16), str(folder))
    base.tokenizer().save_pretrained(folder)
    return {"bytes": (folder / "model.safetensors").stat().st_size}


def plain_loop(model: Any, batches: list[Any]) -> None:
    """As PEFT's own examples do: the model's loss, AdamW, a bound on the gradient's norm."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=OPTIONS.rate)
    model.train()
    for batch in batches:
        ids, mask, labels = padded(batch)
        shifted = torch.full_like(labels, -100)
        shifted[:, 1:] = labels[:, :-1]
        loss = model(input_ids=ids, attention_mask=mask, labels=shifted, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def measure_steps(folder: Path, pairs: int) -> dict[str, Any]:
    """CPU seconds of a step, of ours and of the plain loop, in turn."""
    torch.set_num_threads(THREADS)
    base = BaseModel(str(folder))
    rows = read_rows(folder / "rows.jsonl").rows
    samples = tokenise(base.tokenizer(), rows, OPTIONS.length, print).samples
    lessons = Lessons(samples, [], OPTIONS)
    batches = list(lessons.batches(0))
    model = make_adapter(base.weights("cpu"), OPTIONS)
    plain_loop(model, batches[:1])  # what is loaded late is loaded now
    found: dict[str, list[float]] = {"outlast": [], "PEFT": []}
    for turn in range(pairs):
        for name in ("outlast", "PEFT") if turn % 2 == 0 else ("PEFT", "outlast"):
            with tempfile.TemporaryDirectory() as place:
                began = time.process_time()
                if name == "PEFT":
                    plain_loop(model, batches)
                else:
                    Training(model, lessons, Path(place), "key", 1e9).run(
                        lambda _event: None, lambda: False
                    )
                found[name].append((time.process_time() - began) / len(batches))
    return found


def main(part: str, folder: Path, *more: str) -> dict[str, Any]:
    transformers.utils.logging.disable_progress_bar()
    assert peft.__version__
    return write_base(folder) if part == "base" else measure_steps(folder, int(more[0]))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])))
