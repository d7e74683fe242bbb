"""The training loop: LoRA by PEFT's layers, Adam, one pass over the same rows for the same seed.

Only the places where something is learned go through the output layer: of a conversation that is
the answers, and the output layer of a small model is a quarter of its work.
"""

import hashlib
import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import peft
import torch

from outlast.features.tune.options import ALL_LINEAR, TuneOptions
from outlast.features.tune.work import checkpoint
from outlast.features.tune.work.checkpoint import TrainedSoFar
from outlast.features.tune.work.tokens import Sample

_CLIP: Final = 1.0
"""The largest norm of a step's gradient: PEFT's and transformers' own."""
_IGNORED: Final = -100

Tell = Callable[[dict[str, Any]], object]
Stopped = Callable[[], bool]


class StoppedError(Exception):
    """The training was asked to end, and its checkpoint is written."""


@dataclass(frozen=True, slots=True)
class Trained:
    """`before` and `after`: held-out losses (nats per token), None where nothing was held out.
    `loss`: the mean of the last tenth of the steps. `tokens`: those learned, over all steps.
    """

    steps: int
    before: float | None
    after: float | None
    loss: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Lessons:
    """The rows of a training, and which of them make which step."""

    learn: Sequence[Sample]
    held: Sequence[Sample]
    options: TuneOptions

    @property
    def steps(self) -> int:
        each = math.ceil(len(self.learn) / self.options.batch)
        return self.options.steps or each * self.options.epochs

    def batches(self, start: int) -> Iterator[list[Sample]]:
        """Those of the steps from `start` on. The order of an epoch follows from the seed and the
        rows' content.
        """
        size = self.options.batch
        each = math.ceil(len(self.learn) / size)
        for epoch in range(start // each, math.ceil(self.steps / each)):
            order = self._order(epoch)
            for place in range(each):
                if start <= epoch * each + place < self.steps:
                    yield order[place * size : (place + 1) * size]

    def _order(self, epoch: int) -> list[Sample]:
        salt = f"{self.options.seed} {epoch} ".encode()
        return sorted(self.learn, key=lambda one: hashlib.sha256(salt + one.key).digest())

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: up to the highest, then down to 0."""
        warm = math.ceil(self.options.warmup * self.steps)
        if step < warm:
            return self.options.rate * (step + 1) / warm
        return self.options.rate * (self.steps - step) / max(1, self.steps - warm)


def make_adapter(model: Any, options: TuneOptions) -> Any:
    """The model with a LoRA that changes nothing yet, whose values follow from the seed. Raises
    ValueError where no module is called as a target is.
    """
    torch.manual_seed(options.seed)
    targets: Any = list(options.targets)
    if ALL_LINEAR in options.targets:
        targets = ALL_LINEAR
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        bias="none",
    )
    return peft.get_peft_model(model, config)


class Training:
    """One training. `folder` has its checkpoints, `key` names it, `every` seconds lie between two
    checkpoints.
    """

    def __init__(self, model: Any, course: Lessons, folder: Path, key: str, every: float) -> None:
        self._model = model
        self._course = course
        self._folder = folder
        self._every = every
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._optimizer = torch.optim.AdamW(self._weights.values(), lr=0.0, weight_decay=0.0)
        self._progress = TrainedSoFar(key)
        self._keeps = "logits_to_keep" in inspect.signature(_forward(model)).parameters

    def run(self, tell: Tell, stopped: Stopped) -> Trained:
        """Trains to the end, from the last checkpoint on if there is one. Raises
        :class:`StoppedError` once `stopped`, with a checkpoint.
        """
        found = checkpoint.load(self._folder, self._progress.key, self._weights, self._optimizer)
        self._progress = found or self._progress
        if found is not None:
            tell({"resumed": found.step})
        if self._progress.before is None and self._course.held:
            self._progress.before = self.held_out(tell, stopped)
            self._save()
        self._steps(tell, stopped)
        after = self.held_out(tell, stopped) if self._course.held else None
        losses = self._progress.losses
        last = losses[-max(1, len(losses) // 10) :]
        return Trained(
            len(losses), self._progress.before, after, sum(last) / len(last), self._tokens()
        )

    def measure(self, steps: int) -> float:
        """Seconds that a step takes, after the first."""
        began = 0.0
        done = 0
        for batch in self._course.batches(0):
            self._step(batch, 0)
            began = began or time.monotonic()
            done += 1
            if done > steps:
                break
        return (time.monotonic() - began) / max(1, done - 1)

    def held_out(self, tell: Tell, stopped: Stopped) -> float:
        """The mean loss of the held-out rows, in nats for each token that is learned."""
        self._model.eval()
        total, count = 0.0, 0
        size = self._course.options.batch
        rows = sorted(self._course.held, key=lambda one: (len(one.ids), one.key))
        with torch.inference_mode():
            for place in range(0, len(rows), size):
                if stopped():
                    self._stop()
                loss, tokens = self._loss(rows[place : place + size])
                total += float(loss)
                count += tokens
                tell({"held": min(place + size, len(rows)), "of": len(rows)})
        return total / count

    def _steps(self, tell: Tell, stopped: Stopped) -> None:
        saved = began = time.monotonic()
        first, steps = self._progress.step, self._course.steps
        for batch in self._course.batches(first):
            loss = self._step(batch, self._progress.step)
            self._progress.step += 1
            self._progress.losses.append(loss)
            done, now = self._progress.step, time.monotonic()
            left = (now - began) / (done - first) * (steps - done)
            tell({"step": done, "of": steps, "loss": loss, "left": left})
            if stopped():
                self._stop()
            if now - saved >= self._every and done < steps:
                self._save()
                saved = time.monotonic()
        self._save()

    def _step(self, batch: Sequence[Sample], step: int) -> float:
        self._model.train()
        loss, tokens = self._loss(batch)
        loss = loss / tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights.values(), _CLIP)
        for group in self._optimizer.param_groups:
            group["lr"] = self._course.rate(step)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _loss(self, batch: Sequence[Sample]) -> tuple[Any, int]:
        """The sum of the losses of a batch, and over how many tokens."""
        device = next(iter(self._weights.values())).device
        ids, mask, labels = (part.to(device) for part in padded(batch))
        kept = (labels != _IGNORED).any(dim=0).nonzero()[:, 0]
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        if self._keeps:
            logits = self._model(**given, logits_to_keep=kept).logits
        else:
            logits = self._model(**given).logits[:, kept]
        wanted = labels[:, kept]
        at = wanted != _IGNORED
        loss = torch.nn.functional.cross_entropy(logits[at].float(), wanted[at], reduction="sum")
        return loss, int(at.sum())

    def _tokens(self) -> int:
        return sum(sum(one.targets for one in batch) for batch in self._course.batches(0))

    def _save(self) -> None:
        checkpoint.save(self._folder, self._progress, self._weights, self._optimizer)

    def _stop(self) -> None:
        self._save()
        raise StoppedError


def padded(batch: Sequence[Sample]) -> tuple[Any, Any, Any]:
    """The tokens of a batch, which of them count, and what is to be predicted at each place (shape:
    rows, tokens).
    """
    width = max(len(one.ids) for one in batch)
    ids = torch.zeros((len(batch), width), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, _IGNORED)
    for row, one in enumerate(batch):
        count = len(one.ids)
        ids[row, :count] = torch.frombuffer(one.ids, dtype=torch.int64)
        mask[row, :count] = 1
        wanted = torch.frombuffer(bytearray(one.learned), dtype=torch.uint8)[1:].bool()
        labels[row, : count - 1] = torch.where(wanted, ids[row, 1:count], _IGNORED)
    return ids, mask, labels


def _forward(model: Any) -> Any:
    return model.get_base_model().forward
