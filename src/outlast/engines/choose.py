"""Which engine runs a revision, and with which of its files. Pure: names and sizes in, names out.

Several quantisations of one model are the rule in GGUF repositories. The order of preference is
:data:`QUANT_ORDER`: first the 4- and 5-bit mixtures that are the usual compromise of quality and
memory, then better ones from small to large, then what costs quality, and last the full floats
that few machines run well. Among equals the smaller file wins, then the name.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from outlast.core.errors import EngineError, EntryNotFoundError

EngineName = Literal["llama.cpp", "transformers"]
LLAMA: EngineName = "llama.cpp"
TRANSFORMERS: EngineName = "transformers"

QUANT_ORDER = (
    *("Q4_K_M", "Q4_K_XL", "Q4_K_L", "Q4_K_S", "Q5_K_M", "Q5_K_XL", "Q5_K_L", "Q5_K_S"),
    *("MXFP4_MOE", "MXFP4", "NVFP4", "IQ4_NL", "IQ4_XS", "Q4_1", "Q4_0", "Q5_1", "Q5_0"),
    *("Q6_K", "Q6_K_L", "Q6_K_XL", "Q8_0", "Q8_K_XL"),
    *("Q3_K_XL", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS"),
    *("BF16", "F16", "FP16", "F32", "FP32"),
    *("Q2_K_XL", "Q2_K_L", "Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS"),
    *("TQ2_0", "TQ1_0", "IQ1_M", "IQ1_S", "Q1_0"),
)

_log = logging.getLogger(__name__)

_QUANT = re.compile(
    r"(?i)(?:^|[-_./])(I?Q\d_(?:K_(?:XXS|XS|XL|S|M|L)|K|XXS|XS|NL|[SML]|\d)|TQ\d_\d"
    r"|MXFP4_MOE|MXFP4|NVFP4|BF16|FP?16|FP?32)(?=[-_./]|$)"
)
_SHARD = re.compile(
    r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)$", re.IGNORECASE
)
_NOT_A_MODEL = re.compile(
    r"(?i)(?:^|[-_.])(?:mmproj|imatrix|vocab|lora|adapter|control[-_]vector)(?:[-_.]|$)"
)

# What transformers may read beside the weights. All of it is data: no .py, no pickle.
_BESIDE_WEIGHTS = re.compile(r"(?i)\.(?:json|jinja|txt|model|tiktoken|spm)$")

# Formats that no engine of ours reads: (pattern, what it is, hint). The first match speaks.
_FOREIGN: tuple[tuple[str, str, str], ...] = (
    (
        r"\.(?:bin|pt|pth|ckpt|pkl|pickle|pdparams)$",
        "weights as pickle, which can run code and is never loaded",
        "look for a revision or another model with safetensors or GGUF files",
    ),
    (r"\.onnx(?:[._]data)?$", "ONNX weights", "run them with onnxruntime-genai or optimum"),
    (r"openvino.*\.(?:xml|bin)$", "OpenVINO weights", "run them with openvino-genai"),
    (r"\.(?:tflite|task|litertlm)$", "LiteRT weights", "run them with LiteRT"),
    (r"\.(?:mlmodel|mlpackage|mlmodelc)(?:/|$)", "Core ML weights", "run them with Core ML"),
    (r"\.(?:h5|keras)$", "Keras weights", "run them with keras"),
    (r"\.msgpack$", "Flax weights", "run them with flax"),
    (r"\.nemo$", "a NeMo checkpoint", "run it with NeMo"),
    (r"\.(?:ggml|ggjt)$", "weights in the format before GGUF", "convert them with llama.cpp"),
)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`engine` is to run `files`: for llama.cpp one GGUF or its shards in order, for transformers
    everything that has to lie in one folder, relative to `folder` ("" is the repository's root).
    `why` is a sentence for a person; `size` is in bytes.
    """

    engine: EngineName
    files: tuple[str, ...]
    size: int
    why: str
    folder: str = ""


@dataclass(frozen=True, slots=True)
class _Gguf:
    """One GGUF model: a file, or all shards of it in order."""

    paths: tuple[str, ...]
    size: int
    missing: int

    @property
    def quant(self) -> str:
        """The quantisation that the name tells, in capitals, or ""."""
        found = _QUANT.findall(self.paths[0].removesuffix(".gguf"))
        return found[-1].upper() if found else ""

    @property
    def rank(self) -> tuple[int, int, str]:
        order = QUANT_ORDER.index(self.quant) if self.quant in QUANT_ORDER else len(QUANT_ORDER)
        return order, self.size, self.paths[0]


def choose(
    files: Iterable[tuple[str, int]], wanted: str | None = None, engine: str | None = None
) -> EngineChoice:
    """Decides how to run a revision whose `files` are (path, bytes).

    `wanted` names a file, or is a glob over paths or bare names; `engine` is :data:`LLAMA` or
    :data:`TRANSFORMERS`. Raises :class:`EntryNotFoundError` where `wanted` matches nothing, and
    :class:`EngineError` where no engine can run what is there.
    """
    if engine not in (None, LLAMA, TRANSFORMERS):
        raise EngineError(f"unknown engine {engine!r}", hint=f"one of {LLAMA}, {TRANSFORMERS}")
    sizes = dict(files)
    choice = _choose(sizes, engine) if wanted is None else _choose_wanted(sizes, wanted, engine)
    count = len(choice.files)
    _log.debug("%s runs %d files of %d bytes: %s", choice.engine, count, choice.size, choice.why)
    return choice


def _choose(sizes: dict[str, int], engine: str | None) -> EngineChoice:
    gguf = [g for g in _ggufs(sizes) if not _is_extra(g)] if engine != TRANSFORMERS else []
    whole = [g for g in gguf if not g.missing]
    if whole:
        return _best(whole)
    if engine != LLAMA and (folder := _folder_of_config(sizes)) is not None:
        return _transformers(sizes, folder)
    if gguf:
        raise _incomplete(gguf[0])
    raise _nothing(sizes, engine)


def _choose_wanted(sizes: dict[str, int], wanted: str, engine: str | None) -> EngineChoice:
    if wanted in sizes:
        hits = {wanted}
    else:
        hits = {p for p in sizes if fnmatchcase(p, wanted) or fnmatchcase(_base(p), wanted)}
    if not hits:
        raise EntryNotFoundError(f"no file of this revision matches {wanted!r}")
    gguf = [g for g in _ggufs(sizes) if hits.intersection(g.paths)]
    # A glob such as '*' also finds projectors; only an explicit name asks for one of those.
    gguf = [g for g in gguf if not _is_extra(g)] or gguf
    if gguf and engine != TRANSFORMERS:
        whole = [g for g in gguf if not g.missing]
        if not whole:
            raise _incomplete(gguf[0])
        return _best(whole)
    weights = sorted(p for p in hits if p.lower().endswith(".safetensors"))
    if weights and engine != LLAMA:
        folder = _parent(weights[0])
        if _join(folder, "config.json") in sizes:
            return _transformers(sizes, folder)
    raise _nothing({p: sizes[p] for p in hits}, engine)


def _ggufs(sizes: dict[str, int]) -> list[_Gguf]:
    single: list[_Gguf] = []
    shards: dict[tuple[str, int], dict[int, str]] = {}
    for path in sorted(sizes):
        if not path.lower().endswith(".gguf"):
            continue
        match = _SHARD.match(path)
        if match is None:
            single.append(_Gguf((path,), sizes[path], 0))
        else:
            key = (match["stem"], int(match["count"]))
            shards.setdefault(key, {})[int(match["number"])] = path
    for (_, count), found in shards.items():
        numbers = sorted(found)
        paths = tuple(found[n] for n in numbers)
        lacking = 0 if numbers == list(range(1, count + 1)) else max(1, count - len(numbers))
        single.append(_Gguf(paths, sum(sizes[p] for p in paths), lacking))
    return single


def _is_extra(gguf: _Gguf) -> bool:
    return _NOT_A_MODEL.search(_base(gguf.paths[0]).removesuffix(".gguf")) is not None


def _best(candidates: Sequence[_Gguf]) -> EngineChoice:
    best = min(candidates, key=lambda g: g.rank)
    name = _base(best.paths[0])
    if len(candidates) == 1:
        why = f"{name} is the GGUF file to run"
    else:
        why = f"{name} is the preferred one of {len(candidates)} GGUF files; --file picks another"
    return EngineChoice(LLAMA, best.paths, best.size, why, _parent(best.paths[0]))


def _incomplete(gguf: _Gguf) -> EngineError:
    return EngineError(
        f"{gguf.paths[0]} is split, and {gguf.missing} of its parts do not belong to this revision",
        hint="choose another file with --file, or another revision",
    )


def _folder_of_config(sizes: dict[str, int]) -> str | None:
    """The outermost folder that has both a config.json and safetensors."""
    folders = {_parent(p) for p in sizes if p.lower().endswith(".safetensors")}
    with_config = [f for f in folders if _join(f, "config.json") in sizes]
    return min(with_config, key=lambda f: (f.count("/") + (f != ""), f), default=None)


def _transformers(sizes: dict[str, int], folder: str) -> EngineChoice:
    here = {p for p in sizes if _parent(p) == folder}
    if (error := _no_model(here)) is not None:
        raise error
    weights = {p for p in here if p.lower().endswith(".safetensors")}
    # Some publishers add a second copy of the weights in their own layout.
    named = {
        p for p in weights if not _base(p).startswith("consolidated") and not _is_adapter(_base(p))
    }
    beside = {p for p in here if _BESIDE_WEIGHTS.search(p) and not _is_adapter(_base(p))}
    extra = {_join(folder, "additional_chat_templates/") + _base(p) for p in sizes}
    files = sorted((named or weights) | beside | extra.intersection(sizes))
    why = "safetensors with a config.json run with transformers"
    return EngineChoice(TRANSFORMERS, tuple(files), sum(sizes[p] for p in files), why, folder)


def _no_model(paths: Iterable[str]) -> EngineError | None:
    """The error for safetensors that belong to something else than a language model."""
    names = {_base(path) for path in paths}
    if "model_index.json" in names:
        return EngineError("this is a diffusion pipeline", hint="run it with diffusers")
    weights = {name for name in names if name.lower().endswith(".safetensors")}
    if "adapter_config.json" in names and not {w for w in weights if not _is_adapter(w)}:
        return EngineError(
            "this is an adapter (LoRA), not a model", hint="run the base model that it adapts"
        )
    return None


def _is_adapter(name: str) -> bool:
    return name.startswith("adapter_")


def _nothing(sizes: dict[str, int], engine: str | None) -> EngineError:
    """The error for a revision that no engine runs: says what is there instead."""
    lowered = {p: p.lower() for p in sizes}
    gguf = sorted(p for p in sizes if lowered[p].endswith(".gguf"))
    weights = sorted(p for p in sizes if lowered[p].endswith(".safetensors"))
    if gguf and engine != TRANSFORMERS:
        return EngineError(
            f"the only GGUF files are no models by themselves: {_some(gguf)}",
            hint="--file runs one of them nevertheless",
        )
    if engine is not None and (gguf or weights):
        other = LLAMA if gguf else TRANSFORMERS
        return EngineError(f"{engine} cannot run {_some(gguf or weights)}", hint=f"try {other}")
    if weights:
        return _no_model(sizes) or EngineError(
            f"{_some(weights)} has no config.json beside it, so no engine knows the architecture"
        )
    for pattern, what, hint in _FOREIGN:
        found = sorted(p for p in sizes if re.search(pattern, lowered[p]))
        if found:
            return EngineError(f"only {what}: {_some(found)}", hint=hint)
    return EngineError(
        "no weights that an engine can run", hint="engines run GGUF files, and safetensors folders"
    )


def _some(paths: Sequence[str], limit: int = 3) -> str:
    rest = len(paths) - limit
    return ", ".join(paths[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
