"""Trains a LoRA on several processes: `torchrun --nproc-per-node N train.py`.

Reads job.json beside it; writes the adapter and metrics.json into the folder `adapter`. Needs
torch, transformers, peft and safetensors. Computes on GPUs with NCCL where there are any, else on
the CPU.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch import distributed

HERE = Path(__file__).resolve().parent
IGNORED = -100


def tokens_of(tokenizer: Any, row: dict[str, Any], length: int) -> tuple[list[int], list[int]]:
    """The tokens of a row, and what is to be learned of them (-100: not this one)."""
    if "messages" in row:
        said = row["messages"]
        before = tokenizer.apply_chat_template(
            said[:-1], tokenize=False, add_generation_prompt=True
        )
        whole = tokenizer.apply_chat_template(said, tokenize=False)
        after = whole[len(before) :]
        if not whole.startswith(before):
            after = said[-1]["content"] + (tokenizer.eos_token or "")
        special = False
    else:
        before = row.get("prompt", "")
        after = row["completion"] if "prompt" in row else row["text"]
        after, special = after + (tokenizer.eos_token or ""), True
    first = tokenizer(before, add_special_tokens=special)["input_ids"]
    if special and first and first[-1] == tokenizer.eos_token_id:
        first = first[:-1]
    second = tokenizer(after, add_special_tokens=False)["input_ids"]
    ids = (first + second)[:length]
    return ids, ([IGNORED] * len(first) + second)[:length]


def loss_of(model: Any, rows: list[tuple[list[int], list[int]]], device: Any) -> tuple[Any, int]:
    """The sum of the losses of some rows, and over how many tokens."""
    width = max(len(ids) for ids, _ in rows)
    padded = [[*ids, *[0] * (width - len(ids))] for ids, _ in rows]
    wanted = [[*labels, *[IGNORED] * (width - len(labels))] for _, labels in rows]
    mask = [[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]
    ids, labels, seen = (torch.tensor(one, device=device) for one in (padded, wanted, mask))
    logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits[:, :-1].float()
    labels = labels[:, 1:]
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        labels.reshape(-1),
        ignore_index=IGNORED,
        reduction="sum",
    )
    return loss, int((labels != IGNORED).sum())


def summed(value: float, device: Any) -> float:
    """The sum over all processes."""
    one = torch.tensor([value], dtype=torch.float64, device=device)
    if distributed.is_initialized():
        distributed.all_reduce(one)
    return float(one[0])


def held_out(model: Any, rows: list[Any], rank: int, world: int, device: Any) -> float | None:
    """The mean loss of rows that are not learned, in nats for each token."""
    total, count = 0.0, 0.0
    model.eval()
    with torch.inference_mode():
        for row in rows[rank::world]:
            loss, tokens = loss_of(model, [row], device)
            total, count = total + float(loss), count + tokens
    total, count = summed(total, device), summed(count, device)
    return total / count if count else None


def order_of(count: int, seed: int, epoch: int) -> list[int]:
    """The order of the rows in an epoch, which follows from the seed."""
    return sorted(
        range(count), key=lambda row: hashlib.sha256(f"{seed} {epoch} {row}".encode()).digest()
    )


def train(config: Any = None) -> None:
    """What each process does."""
    del config
    job = json.loads((HERE / "job.json").read_text())
    options = job["options"]
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    on_gpu = torch.cuda.is_available()
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if on_gpu else "gloo")
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_gpu else "cpu")
    torch.manual_seed(options["seed"])
    base = str(HERE / "base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16 if on_gpu else torch.float32, use_safetensors=True
    )
    targets = options["targets"].split(",")
    adapter = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules="all-linear" if "all-linear" in targets else targets,
    )
    model = peft.get_peft_model(model, adapter).to(device)
    with (HERE / "rows.jsonl").open(encoding="utf-8") as file:
        rows = [tokens_of(tokenizer, json.loads(line), options["length"]) for line in file]
    learn, held = rows[: job["learn"]], rows[job["learn"] :]
    metrics: dict[str, Any] = {"held_out_loss_before": held_out(model, held, rank, world, device)}
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=options["rate"], weight_decay=0.0)
    each = math.ceil(len(learn) / options["batch"])
    steps = options.get("steps") or each * options["epochs"]
    warm = max(1, math.ceil(options["warmup"] * steps))
    loss = 0.0
    for step in range(steps):
        order = order_of(len(learn), options["seed"], step // each)
        at = (step % each) * options["batch"]
        batch = [learn[row] for row in order[at : at + options["batch"]]][rank::world]
        loss = trained_step(model, batch, weights, device)
        if step < warm:
            rate = options["rate"] * (step + 1) / warm
        else:
            rate = options["rate"] * (steps - step) / max(1, steps - warm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if rank == 0:
            sys.stdout.write(f"step {step + 1} of {steps}: loss {loss:.4f}\n")
            sys.stdout.flush()
    metrics |= {"held_out_loss_after": held_out(model, held, rank, world, device)}
    metrics |= {"loss": loss, "steps": steps, "rows": len(learn), "held_out_rows": len(held)}
    if rank == 0:
        keep(model, tokenizer, metrics, world)
    if world > 1:
        distributed.barrier()


def trained_step(model: Any, batch: list[Any], weights: list[Any], device: Any) -> float:
    """The gradient of a step, summed over all processes; its loss in nats for each token."""
    model.train()
    total, count = 0.0, 0.0
    if batch:
        loss, tokens = loss_of(model, batch, device)
        loss.backward()
        total, count = float(loss.detach()), tokens
    total, count = summed(total, device), summed(count, device)
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        if distributed.is_initialized():
            distributed.all_reduce(weight.grad)
        weight.grad /= count
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    return total / count


def keep(model: Any, tokenizer: Any, metrics: dict[str, Any], world: int) -> None:
    """Writes the adapter, and what is known of its making."""
    folder = HERE / "adapter"
    model.save_pretrained(folder)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    template = tokenizer.chat_template
    facts = {
        "metrics": {name: value for name, value in metrics.items() if value is not None},
        "versions": {
            **{
                name: importlib.metadata.version(name) for name in ("peft", "torch", "transformers")
            },
            "processes": str(world),
        },
        "tokenizer": hashlib.sha256(backend.to_str().encode()).hexdigest() if backend else "",
        "template": hashlib.sha256(template.encode()).hexdigest()
        if isinstance(template, str)
        else "",
    }
    (folder / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    train()
