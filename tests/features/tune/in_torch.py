"""What is asked of the training itself, in one process, so that torch is imported once.

`python -m tests.features.tune.in_torch MODEL FOLDER` prints what was found as JSON; MODEL is a
folder of a tiny model with a chat template.
"""

import errno
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers
from safetensors.torch import load_file

from outlast.codec.tensors import parse
from outlast.engines.adapters import read_adapter
from outlast.engines.transformers_worker import adapted
from outlast.engines.worker import RefusedError
from outlast.features.tune.data import read_rows, split
from outlast.features.tune.options import TuneOptions
from outlast.features.tune.work import checkpoint
from outlast.features.tune.work.adapter import write_adapter
from outlast.features.tune.work.base_model import BaseModel
from outlast.features.tune.work.merge_main import MergeRunner
from outlast.features.tune.work.names import CHECKPOINT
from outlast.features.tune.work.tokens import tokenise
from outlast.features.tune.work.train import Lessons, StoppedError, Training, make_adapter

OPTIONS = TuneOptions(rank=8, batch=3, epochs=60, rate=0.01, dropout=0.1, held_out=0.2)
ASKED = ("sea?", "the sea?", "what is the sea?", "say: sea", "and the sea?", "sea", "the sea")
FACT = "wide and blue"


def facts(folder: Path) -> Path:
    path = folder / "facts.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": FACT}]}
        for q in ASKED
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def course(base: BaseModel, folder: Path, options: TuneOptions = OPTIONS) -> Lessons:
    rows = read_rows(facts(folder)).rows
    _, held = split(rows, options.held_out)
    found = tokenise(base.tokenizer(), rows, options.length, print)
    assert not found.problems
    keys = {row.key for row in held}
    learn = [one for one in found.samples if one.key not in keys]
    return Lessons(learn, [one for one in found.samples if one.key in keys], options)


def trained(
    base: BaseModel, folder: Path, *, stop_at: int | None = None, every: float = 1e9
) -> tuple[Any, Any]:
    """The model and what was trained; with `stop_at`, stopped there and begun again."""
    folder.mkdir(exist_ok=True)
    plan = course(base, folder)
    seen = [0]

    def tell(event: dict[str, Any]) -> None:
        seen[0] = event.get("step", seen[0])

    if stop_at is not None:
        model = make_adapter(base.weights("cpu"), OPTIONS)
        try:
            Training(model, plan, folder, "key", every).run(tell, lambda: seen[0] >= stop_at)
        except StoppedError:
            pass
        else:
            raise AssertionError("it was not stopped")
    model = make_adapter(base.weights("cpu"), OPTIONS)
    done = Training(model, plan, folder, "key", every).run(tell, lambda: False)
    write_adapter(model, folder, "org/base", "ab" * 20)
    return model, done


def digest(folder: Path) -> str:
    names = ("adapter_model.safetensors", "adapter_config.json")
    return hashlib.sha256(b"".join((folder / n).read_bytes() for n in names)).hexdigest()


def says(model: Any, tokenizer: Any, question: str) -> str:
    said = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        out = model.eval().generate(input_ids=ids, max_new_tokens=16, do_sample=False)
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model.eval()(torch.arange(10)[None]).logits


def main(place: Path, folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    base = BaseModel(str(place))
    found: dict[str, Any] = {"fact": FACT}
    model, done = trained(base, folder / "whole")
    found["loss"] = [done.before, done.after]
    tokenizer = base.tokenizer()
    question = "what is that sea?"
    found["before"] = says(base.weights("cpu"), tokenizer, question)
    found["after"] = says(model, tokenizer, question)
    again, other = trained(base, folder / "again", every=0)[1], folder / "resumed"
    found["again"] = [digest(folder / "whole"), digest(folder / "again"), again == done]
    resumed = trained(base, other, stop_at=7)[1]
    found["resumed"] = [digest(other), resumed == done]
    found |= broken_checkpoint(base, folder / "broken", done)
    found |= as_engine(base, folder, model)
    found |= merged(place, folder, model)
    return found


def broken_checkpoint(base: BaseModel, folder: Path, done: Any) -> dict[str, Any]:
    """One with a flipped bit, or of another training, is passed over."""
    folder.mkdir()
    kept = folder.parent / "resumed" / CHECKPOINT
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    (folder / CHECKPOINT).write_bytes(data)
    model = make_adapter(base.weights("cpu"), OPTIONS)
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(weights.values())
    found = [checkpoint.load(folder, "key", weights, optimizer) is None]
    shutil.copy(kept, folder / CHECKPOINT)
    found.append(checkpoint.load(folder, "other", weights, optimizer) is None)
    whole = checkpoint.load(folder, "key", weights, optimizer)
    found.append(whole is not None and whole.step == done.steps)
    assert whole is not None
    before = (folder / CHECKPOINT).read_bytes()
    with (
        patch("os.write", side_effect=OSError(errno.ENOSPC, "full")),
        patch("os.pwrite", side_effect=OSError(errno.ENOSPC, "full")),
    ):
        try:
            checkpoint.save(folder, whole, weights, optimizer)
        except RefusedError as error:
            found.append(error.hint == checkpoint.DISK_FULL)
    found.append((folder / CHECKPOINT).read_bytes() == before)
    found.append([path.name for path in folder.iterdir()] == [CHECKPOINT])
    return {"checkpoints": found}


def as_engine(base: BaseModel, folder: Path, model: Any) -> dict[str, Any]:
    """The engine loads what PEFT itself loads."""
    weights = folder / "whole" / "adapter_model.safetensors"
    data = weights.read_bytes()
    container = parse(lambda at, n: data[at : at + n], len(data))
    assert container is not None
    config = (folder / "whole" / "adapter_config.json").read_bytes()
    read = read_adapter(config, container.tensors)
    one = {"file": str(weights), "config": read.peft_config()}
    ours = adapted(base.weights("cpu"), [one])
    return {
        "engine": bool(torch.equal(logits(ours), logits(model))),
        "base": str(read.base),
        "config": json.loads(config),
    }


def merged(place: Path, folder: Path, model: Any) -> dict[str, Any]:
    """A merge of ours, and PEFT's own."""
    made = folder / "merged"
    made.mkdir()
    weights = folder / "whole" / "adapter_model.safetensors"
    names = {
        n.rpartition(".lora_")[0].removeprefix("base_model.model.") for n in load_file(weights)
    }
    runner = MergeRunner(
        {
            "adapter": str(weights),
            "made": str(made),
            "model": str(place),
            "modules": dict.fromkeys(names, OPTIONS.alpha / OPTIONS.rank),
        }
    )
    runner.chat({}, lambda _event: None, lambda: False)
    ours, base = load_file(made / "model.safetensors"), load_file(place / "model.safetensors")
    theirs = model.merge_and_unload().state_dict()
    worst = max(float((ours[n] - theirs[n]).abs().max()) for n in ours if n in theirs)
    changed = {n for n in ours if not torch.equal(ours[n], base[n])}
    header = [
        (made / "model.safetensors").read_bytes()[:8],
        (place / "model.safetensors").read_bytes()[:8],
    ]
    return {
        "merged": [worst, changed == {f"{n}.weight" for n in names}, header[0] == header[1]],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
