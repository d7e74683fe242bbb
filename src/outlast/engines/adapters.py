"""LoRA adapters: what one consists of, read from files that are not trusted.

PEFT's own reader takes a configuration at its word: targets and patterns that are regular
expressions, ways to fill weights that change the base, modules to import. Here the names and shapes
of the tensors say what the adapter changes, and of the configuration only what scales it counts.
What would change the model in another way is refused.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from outlast.codec.tensors import Tensor
from outlast.core.errors import BadNameError, EngineError, MalformedError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
MAX_CONFIG: Final = 1024 * 1024
"""Bytes. Guess: those of PEFT have 1 KB."""
MOST_MODULES: Final = 100_000
_MOST_RANK: Final = 4096
_TENSOR: Final = re.compile(
    r"base_model\.model\.([A-Za-z0-9_.]{1,300})\."
    r"(lora_A\.weight|lora_B\.weight|lora_magnitude_vector(?:\.weight)?)\Z"
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.]{1,300}\Z")
# They say how it was trained, or where; what is loaded does not depend on them.
_IGNORED: Final = frozenset(
    {
        *("auto_mapping", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules"),
        *("inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform"),
        *("loftq_config", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core"),
        *("peft_version", "qalora_group_size", "revision", "runtime_config", "target_modules"),
        *("task_type",),
    }
)
_USED: Final = frozenset(
    {
        *("alpha_pattern", "base_model_name_or_path", "bias", "lora_alpha", "peft_type", "r"),
        *("rank_pattern", "use_dora", "use_rslora"),
    }
)


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """An adapter: `modules` maps the name of each linear layer that it changes to its rank there,
    `alphas` to its alpha. `root`: the scale is alpha over the root of the rank. `magnitudes`: it
    has a vector of magnitudes for each module (DoRA). `base`: the model that it names as its base,
    None where it names none, or a folder.
    """

    modules: Mapping[str, int]
    alphas: Mapping[str, float]
    root: bool
    magnitudes: bool
    base: RepoId | None

    def scale(self, module: str) -> float:
        """What the product of its two matrices is multiplied by."""
        rank = self.modules[module]
        return self.alphas[module] / (math.sqrt(rank) if self.root else rank)

    def peft_config(self) -> dict[str, Any]:
        """The arguments of PEFT's `LoraConfig`: exact names, and nothing else."""
        rank = next(iter(self.modules.values()))
        alpha = next(iter(self.alphas.values()))
        # PEFT reads the keys of patterns as regular expressions.
        return {
            "task_type": "CAUSAL_LM",
            "r": rank,
            "lora_alpha": alpha,
            "target_modules": list(self.modules),
            "rank_pattern": {f"^{re.escape(n)}": r for n, r in self.modules.items() if r != rank},
            "alpha_pattern": {f"^{re.escape(n)}": a for n, a in self.alphas.items() if a != alpha},
            "use_rslora": self.root,
            "use_dora": self.magnitudes,
            "lora_dropout": 0.0,
            "bias": "none",
            "inference_mode": True,
        }


def read_adapter(config: bytes, tensors: Iterable[Tensor]) -> LoraAdapter:
    """The adapter of a configuration and the tensors of its file. Raises :class:`MalformedError`
    for what contradicts itself, and :class:`EngineError` for kinds of adapters that are not run.
    """
    said = load_json(config, MAX_CONFIG)
    if not isinstance(said, dict):
        raise MalformedError(f"{CONFIG} is no JSON object")
    _refuse_others(said)
    magnitudes = said.get("use_dora") is True
    modules = _modules(tensors, magnitudes=magnitudes)
    alpha = _number(said.get("lora_alpha"), "lora_alpha")
    patterns = said.get("alpha_pattern") or {}
    _check_ranks(said, modules)
    return LoraAdapter(
        modules,
        {name: _alpha(name, patterns, alpha) for name in modules},
        said.get("use_rslora") is True,
        magnitudes,
        _base(said.get("base_model_name_or_path")),
    )


def _refuse_others(said: Mapping[str, Any]) -> None:
    if said.get("peft_type") != "LORA":
        raise EngineError(
            f"an adapter of the kind {said.get('peft_type')!r:.60} is not run", hint="LoRA is"
        )
    if said.get("bias", "none") != "none":
        raise EngineError("an adapter that changes biases is not run")
    for key, value in said.items():
        if key in _USED or key in _IGNORED:
            continue
        if value not in (None, False, "", [], {}):
            raise EngineError(f"an adapter with {key!r:.60} is not run", hint="plain LoRA is")


def _modules(tensors: Iterable[Tensor], *, magnitudes: bool) -> dict[str, int]:
    """The modules with both matrices of fitting shapes, and their ranks."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in tensors:
        found = _TENSOR.match(tensor.name)
        if found is None:
            raise EngineError(f"an adapter with the tensor {tensor.name!r:.100} is not run")
        shapes.setdefault(found[1], {})[found[2].removesuffix(".weight")] = tuple(tensor.shape)
        if len(shapes) > MOST_MODULES:
            raise MalformedError(f"an adapter of more than {MOST_MODULES} modules")
    modules = {}
    wanted = {"lora_A", "lora_B"} | ({"lora_magnitude_vector"} if magnitudes else set())
    for name, parts in sorted(shapes.items()):
        if set(parts) != wanted:
            raise MalformedError(f"the adapter of {name!r:.100} has other parts than {wanted}")
        down, up = parts["lora_A"], parts["lora_B"]
        if len(down) != 2 or len(up) != 2 or down[0] != up[1] or not 1 <= down[0] <= _MOST_RANK:
            raise MalformedError(f"the matrices of {name!r:.100} do not fit: {down} and {up}")
        modules[name] = down[0]
    if not modules:
        raise MalformedError("an adapter without tensors")
    return modules


def _check_ranks(said: Mapping[str, Any], modules: Mapping[str, int]) -> None:
    """The configured ranks have to be those of the tensors: PEFT scales by the former."""
    rank = said.get("r")
    patterns = said.get("rank_pattern") or {}
    for name, found in modules.items():
        if _pattern(name, patterns, rank) != found:
            raise MalformedError(
                f"the rank of {name!r:.100} is {found}, and not what {CONFIG} says"
            )


def _alpha(name: str, patterns: object, default: float) -> float:
    return _number(_pattern(name, patterns, default), "alpha_pattern")


def _pattern(name: str, patterns: object, default: Any) -> Any:
    """The value of the first key that ends the name: whole parts of it, as PEFT compares."""
    if not isinstance(patterns, dict) or not all(map(_NAME.match, patterns)):
        raise EngineError("an adapter whose patterns are regular expressions is not run")
    for key, value in patterns.items():
        if name == key or name.endswith(f".{key}"):
            return value
    return default


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise MalformedError(f"{what} of an adapter is no number that it may be")
    return value


def _base(value: object) -> RepoId | None:
    if not isinstance(value, str) or value.startswith(("/", ".", "~")):
        return None
    try:
        repo = RepoId.parse(value)
    except BadNameError:
        return None
    return repo if "/" in repo.name else None
