"""What a tuning's worker does: rows become tokens, a step is measured, an adapter is trained."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from outlast.core.errors import OutlastError
from outlast.engines.worker import Emit, Json, RefusedError, Stopped
from outlast.features.tune.data import read_open, split
from outlast.features.tune.options import TuneOptions
from outlast.features.tune.work.adapter import write_adapter
from outlast.features.tune.work.base_model import BaseModel, version_of
from outlast.features.tune.work.sizes import estimate
from outlast.features.tune.work.tokens import tokenise, tokenizer_digest
from outlast.features.tune.work.train import Lessons, StoppedError, Training, make_adapter

_MEASURED_STEPS: Final = 2
_PACKAGES: Final = ("torch", "transformers", "peft", "safetensors", "tokenizers")


class TuneRunner:
    """A tuning that was described; each request is one part of it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        options = {**config["options"], "targets": tuple(config["options"]["targets"])}
        self._options = TuneOptions(**options)
        self._base = BaseModel(config["model"])
        self._tokenizer = self._base.tokenizer()
        self._size = self._base.size()
        self._learn: list[Any] = []
        self._held: list[Any] = []
        self.facts: Json = self._facts()

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        """One part of the work; the name is that of the protocol."""
        try:
            if request["do"] == "read":
                return self._read(emit)
            return self._run(request["do"], emit, stopped)
        except RefusedError:
            raise
        except MemoryError:
            raise RefusedError(
                "the memory does not suffice", "a smaller --batch or --length"
            ) from None

    def _facts(self) -> Json:
        versions = {name: version_of(name) for name in _PACKAGES}
        if self._config["model"].endswith(".gguf"):
            versions["gguf"] = version_of("gguf")
        return {
            "versions": {**versions, "cpu": str(torch.backends.cpu.get_cpu_capability())},
            "tokenizer": tokenizer_digest(self._tokenizer),
            "template": self._template(),
            "parameters": self._size.parameters,
            "context": self._size.context,
        }

    def _template(self) -> str:
        template = self._tokenizer.chat_template
        return template if isinstance(template, str) else ""

    def _read(self, emit: Emit) -> Json:
        path = self._config["data"]
        try:
            with open(path, "rb") as file:
                rows = read_open(file, path)
            if rows.digest.hex != self._config["digest"]:
                raise RefusedError(f"{path} changed while it was read", "run the command again")
            _, held = split(rows.rows, self._options.held_out)
        except OutlastError as error:
            raise RefusedError(str(error), error.hint) from error
        if rows.kind == "messages" and not self._tokenizer.chat_template:
            raise RefusedError(
                "the base has no chat template, so messages cannot be written as text",
                "rows with prompt and completion need none",
            )
        length = min(self._options.length, self._size.context)
        of = len(rows.rows)
        found = tokenise(self._tokenizer, rows.rows, length, lambda n: emit({"read": n, "of": of}))
        held_keys = {row.key for row in held}
        self._learn = [one for one in found.samples if one.key not in held_keys]
        self._held = [one for one in found.samples if one.key in held_keys]
        return {"done": True, **self._said(found), **self._estimate(found)}

    def _said(self, found: Any) -> Json:
        return {
            "problems": [[problem.line, problem.what] for problem in found.problems],
            "cut": [list(one) for one in found.cut],
            "rows": len(self._learn),
            "held_out": len(self._held),
            "tokens": sum(len(one.ids) for one in self._learn),
            "learned": sum(one.targets for one in self._learn),
            "longest": max((len(one.ids) for one in found.samples), default=0),
        }

    def _estimate(self, found: Any) -> Json:
        longest = max((len(one.ids) for one in found.samples), default=0)
        trainable = self._base.trainable(self._options)
        made = estimate(self._size, trainable, longest, self._options, self._config["gguf"])
        course = self._course()
        return {
            "memory": made.memory,
            "weights": made.weights,
            "disk": made.disk,
            "trainable": made.trainable,
            "steps": course.steps if self._learn else 0,
            "free_memory": free_memory(),
        }

    def _course(self) -> Any:
        return Lessons(self._learn, self._held, self._options)

    def _run(self, do: str, emit: Emit, stopped: Stopped) -> Json:
        began = time.monotonic()
        emit({"loading": True})
        base = self._base.weights(self._options.device)
        try:
            model = make_adapter(base, self._options)
        except ValueError as error:
            raise RefusedError(f"the base takes no such adapter: {error}", "--target") from error
        folder = Path(self._config["folder"])
        made = folder / self._config["made"]
        training = Training(
            model, self._course(), folder, self._config["key"], self._config["every"]
        )
        if do == "measure":
            seconds = training.measure(_MEASURED_STEPS)
            return {"done": True, "step_seconds": seconds, "load_seconds": time.monotonic() - began}
        try:
            trained = training.run(emit, stopped)
        except StoppedError:
            return {"stopped": True}
        write_adapter(model, made, self._config["base"], self._config["commit"])
        return {
            "done": True,
            "steps": trained.steps,
            "before": trained.before,
            "after": trained.after,
            "loss": trained.loss,
            "tokens": trained.tokens,
        }


def free_memory() -> int:
    """Bytes that the system can give without swapping; 0 where it does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
