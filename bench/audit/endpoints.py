"""The endpoints that the bench audits: engines that answer as providers do, without a network."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.process import BenchError
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.names import Target
from outlast.engines.llama import LlamaOptions
from outlast.engines.scoring.base import Scorer
from outlast.engines.scoring.llama import open_llama_scorer
from outlast.engines.scoring.transformers import (
    BFLOAT16,
    FLOAT32,
    open_transformers_scorer,
)
from outlast.engines.transformers import TransformersOptions
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.reference import Reference, ReferenceOptions
from outlast.features.audit.reference.rounded_gguf import write_changed
from outlast.ops.run import prepare
from outlast.store.archive import Archive
from tests.clients.envs import make_once
from tests.engines.torch_env import ROOT, find_python, packages_of
from tests.features.audit.models import as_f16, as_q4_0, small_bf16
from tests.realweights import smollm2_gguf

NAME: Final = "org/smollm2"
HONEST: Final = ("llama.cpp, F16", "llama.cpp, BF16", "transformers, bf16", "transformers, float32")
CHANGED: Final = ("int8", "fp8", "int4", "Q4_0")
_NEEDED: Final = ("torch", "transformers", "peft", "gguf")
_THREADS: Final = 1
_CONTEXT: Final = 512


@dataclass(frozen=True, slots=True)
class Rig:
    """A folder with the model in the forms that endpoints serve."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model" / "smollm2-F16.gguf"

    def prepare(self) -> None:
        """Makes the model in F16, and archives it."""
        self.model.parent.mkdir(parents=True)
        as_f16(smollm2_gguf(), self.model)
        env = {**os.environ, "OUTLAST_HOME": str(self.folder / "home"), "OUTLAST_SWARM": "0"}
        command = ["-m", "outlast", "add", str(self.model.parent), "--as", NAME, "--quiet"]
        _run(Path(sys.executable), command, env)

    @contextmanager
    def reference(self) -> Iterator[Reference]:
        """The archived model, which keeps nothing of what it computes."""
        control, target = Control(lambda _: None), Target.parse(NAME)
        options = ReferenceOptions(context=_CONTEXT, threads=_THREADS, scratch=self.folder)
        with (
            Archive(self.folder / "home") as archive,
            prepare(
                archive, target, wanted=None, engine=None, recheck=False, control=control
            ) as ready,
            Reference(ready, ScoreCache(self.folder), options, control.cancel) as found,
        ):
            yield found

    @contextmanager
    def endpoint(self, name: str) -> Iterator[Scorer]:
        """One of :data:`HONEST` or :data:`CHANGED`, while the block runs."""
        if name.startswith("transformers"):
            rounding = BFLOAT16 if name.endswith("bf16") else FLOAT32
            options = TransformersOptions(threads=_THREADS)
            folder = str(self._safetensors())
            with open_transformers_scorer(folder, options, Cancel(), rounding=rounding) as scorer:
                yield scorer
            return
        served = self._served(name)
        llama = LlamaOptions(context=_CONTEXT, threads=_THREADS)
        try:
            with open_llama_scorer([str(served)], llama, Cancel()) as scorer:
                yield scorer
        finally:
            if served != self.model:
                served.unlink()

    def _served(self, name: str) -> Path:
        if name == HONEST[0]:
            return self.model
        if name == HONEST[1]:
            return small_bf16(self.model, self.folder / "bf16.gguf")
        if name == "Q4_0":
            return as_q4_0(self.model, self.folder / "q4.gguf")
        [made] = write_changed([self.model], self.folder, name)
        return made

    def _safetensors(self) -> Path:
        """The same weights as a folder that transformers loads; its environment is for workers."""
        python = find_python(*_NEEDED)
        paths = [*sys.path, str(ROOT / "src"), str(ROOT)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        if python is not None and (packages := str(packages_of(python))) not in sys.path:
            sys.path.append(packages)
            os.environ["PYTHONPATH"] = packages

        def make(folder: Path) -> None:
            _run(
                python or Path(sys.executable),
                ["-m", "bench.tune.in_torch", "base", str(folder)],
                env,
            )

        return make_once(self.folder / "safetensors", make)


def _run(python: Path, command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(
        [python, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(done.stderr[-2000:])
