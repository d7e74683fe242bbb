"""Small random models, what is made of them, and archives that have them."""

import json
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from outlast.core.control import Control
from outlast.core.names import Target
from outlast.features.lineage.lineage import find_lineage
from outlast.features.lineage.relative import LineageFound
from outlast.fetch.file_filter import Selection
from outlast.intake.form_policy import FormWishes
from outlast.ops.add import add
from outlast.store.archive import Archive
from tests.realweights import Tensor, to_bf16, write_safetensors

Model = dict[str, npt.NDArray[np.float32]]
WIDTH = 64
HIDDEN = 192
LAYERS = 3
TOKENS = 300


def model(seed: int, *, layers: int = LAYERS, hidden: int = HIDDEN, width: int = WIDTH) -> Model:
    """A random Llama by its names. Its rows have a common direction, as trained ones have."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> npt.NDArray[np.float32]:
        shared = random.normal(size=columns) * 0.02
        values = (random.normal(size=(rows, columns)) + shared) / np.sqrt(columns)
        return _rounded(values.astype(np.float32))

    found = {"model.embed_tokens.weight": matrix(TOKENS, width)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            found[f"{at}self_attn.{name}.weight"] = matrix(width, width)
        found[f"{at}mlp.gate_proj.weight"] = matrix(hidden, width)
        found[f"{at}mlp.up_proj.weight"] = matrix(hidden, width)
        found[f"{at}mlp.down_proj.weight"] = matrix(width, hidden)
        found[f"{at}input_layernorm.weight"] = np.ones(width, np.float32)
    found["model.norm.weight"] = np.ones(width, np.float32)
    return found


def _rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """To bf16, as published models are."""
    high = np.frombuffer(to_bf16(np.ascontiguousarray(values).tobytes()), np.uint16)
    return (high.astype(np.uint32) << 16).view(np.float32).reshape(values.shape)


def trained(base: Model, seed: int, by: float = 0.3) -> Model:
    """Each weight moved by `by` of its matrix's spread."""
    random = np.random.default_rng(seed)
    return {
        name: _rounded(
            (w + random.normal(size=w.shape) * by * (w.std() or 0.05)).astype(np.float32)
        )
        for name, w in base.items()
    }


def with_lora(base: Model, seed: int, rank: int = 4) -> Model:
    """A merged adapter of the attention and the MLP."""
    random = np.random.default_rng(seed)
    found = dict(base)
    for name, w in base.items():
        if "proj" in name:
            a, b = random.normal(size=(w.shape[0], rank)), random.normal(size=(rank, w.shape[1]))
            found[name] = _rounded((w + 0.2 * (a @ b) * w.std()).astype(np.float32))
    return found


def merged(one: Model, other: Model, share: float) -> Model:
    """An average."""
    return {
        name: _rounded((share * w + (1 - share) * other[name]).astype(np.float32))
        for name, w in one.items()
    }


def permuted(base: Model, seed: int) -> Model:
    """Hidden units in another order: the same function."""
    random = np.random.default_rng(seed)
    found = dict(base)
    for name in base:
        if name.endswith("gate_proj.weight"):
            order = random.permutation(base[name].shape[0])
            stem = name.removesuffix("gate_proj.weight")
            found[name] = base[name][order]
            found[f"{stem}up_proj.weight"] = base[f"{stem}up_proj.weight"][order]
            found[f"{stem}down_proj.weight"] = base[f"{stem}down_proj.weight"][:, order]
    return found


def pruned(base: Model, share: float = 0.5) -> Model:
    """The smallest weights of each matrix set to 0."""
    found = {}
    for name, w in base.items():
        bound = np.quantile(np.abs(w), share) if w.ndim == 2 else 0.0
        found[name] = np.where(np.abs(w) < bound, 0, w).astype(np.float32)
    return found


def grown(base: Model, seed: int, more: int = 16) -> Model:
    """More tokens, and trained a little."""
    found = trained(base, seed, 0.05)
    name = "model.embed_tokens.weight"
    found[name] = np.concatenate([found[name], found[name][:more] * 0.5])
    return found


def without_layers(base: Model, kept: list[int]) -> Model:
    """A model of some of the layers."""
    found = {name: w for name, w in base.items() if ".layers." not in name}
    for new, old in enumerate(kept):
        for name, w in base.items():
            if f".layers.{old}." in name:
                found[name.replace(f".layers.{old}.", f".layers.{new}.")] = w
    return found


def narrowed(base: Model, kept: int) -> Model:
    """A model with the last `kept` hidden units of each layer."""
    found = dict(base)
    for name, w in base.items():
        if "gate_proj" in name or "up_proj" in name:
            found[name] = w[-kept:]
        if "down_proj" in name:
            found[name] = w[:, -kept:]
    return found


def renamed(base: Model) -> Model:
    """Names that say nothing, in the same order."""
    return {f"t{at:04}": w for at, w in enumerate(base.values())}


def write(folder: Path, weights: Model, dtype: str = "BF16", **texts: str) -> Path:
    """A folder as a hub has it: safetensors, and other files by their stems."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: _tensor(w, dtype) for name, w in weights.items()}
    write_safetensors(folder / "model.safetensors", tensors)
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)
    return folder


def _tensor(weights: npt.NDArray[np.float32], dtype: str) -> Tensor:
    data = np.ascontiguousarray(weights).tobytes()
    return Tensor(dtype, weights.shape, to_bf16(data) if dtype == "BF16" else data)


_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
}


def write_gguf(folder: Path, weights: Model, dtype: str) -> Path:
    """The same quantised, under GGUF's names, by the `gguf` package."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(folder / f"model-{dtype}.gguf", "llama")
    kind = gguf.GGMLQuantizationType[dtype]
    for name, w in weights.items():
        new = name.replace("model.layers.", "blk.").replace("model.embed_tokens", "token_embd")
        new = new.replace("model.norm", "output_norm")
        for old, word in _GGUF_NAMES.items():
            new = new.replace(f".{old}.", f".{word}.")
        if w.ndim == 1:
            writer.add_tensor(new, w)
        else:
            writer.add_tensor(new, gguf.quants.quantize(w, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


class Zoo:
    """An archive below a folder, and models in it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def add(self, name: str, folder: Path) -> None:
        """Archives a folder as `me/name`."""
        with Archive(self.home / "archive", create=True) as archive:
            add(
                archive,
                folder,
                Target.parse(f"me/{name}"),
                selection=Selection(),
                follow_links=False,
                control=Control(),
                wishes=FormWishes(),
            )

    def put(self, name: str, weights: Model, dtype: str = "BF16", **texts: str) -> None:
        """As safetensors."""
        self.add(name, write(self.home / "folders" / name, weights, dtype, **texts))

    def put_gguf(self, name: str, weights: Model, dtype: str) -> None:
        self.add(name, write_gguf(self.home / "folders" / name, weights, dtype))

    def find(self, name: str, *others: str) -> LineageFound:
        """What is found of a model."""
        targets = [Target.parse(f"me/{other}") for other in others]
        with Archive(self.home / "archive") as archive:
            return find_lineage(archive, Target.parse(f"me/{name}"), targets, control=Control())


def tokenizer(tokens: Mapping[str, int]) -> str:
    """A tokenizer.json."""
    return json.dumps({"model": {"type": "BPE", "vocab": dict(tokens), "merges": []}})
