"""Five ways in which a model comes back changed a little."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.codec import finetune
from tests.realweights import Tensor, read_safetensors, write_safetensors

_WORDS = "embeddings.word_embeddings.weight"
_NEW_ROWS = 16
_CHANGED_ROWS = 300
_SHARDS = 3
_TUNED = ("encoder.layer.4.", "encoder.layer.5.")


def _header(tensors: dict[str, Tensor], folder: Path) -> None:
    note = {"format": "pt", "note": "the same weights"}
    write_safetensors(folder / "model.safetensors", tensors, **note)


def _resharded(tensors: dict[str, Tensor], folder: Path) -> None:
    share = sum(len(tensor.data) for tensor in tensors.values()) / _SHARDS
    shards: list[dict[str, Tensor]] = [{} for _ in range(_SHARDS)]
    done = 0
    for name in sorted(tensors):
        shards[min(int(done / share), _SHARDS - 1)][name] = tensors[name]
        done += len(tensors[name].data)
    for n, shard in enumerate(shards, 1):
        path = folder / f"model-{n:05}-of-{_SHARDS:05}.safetensors"
        write_safetensors(path, shard, format="pt")


def _last_layers(tensors: dict[str, Tensor], folder: Path) -> None:
    tuned = read_safetensors(finetune.tuned("60"))
    mixed = {name: tuned[name] if name.startswith(_TUNED) else t for name, t in tensors.items()}
    write_safetensors(folder / "model.safetensors", mixed, format="pt")


def _grown(tensors: dict[str, Tensor], folder: Path) -> None:
    words = tensors[_WORDS]
    rows, width = words.shape
    new = b"".join(_new_row(words, row) for row in range(_NEW_ROWS))
    grown = Tensor(words.dtype, (rows + _NEW_ROWS, width), words.data + new)
    write_safetensors(folder / "model.safetensors", tensors | {_WORDS: grown}, format="pt")


def _scattered(tensors: dict[str, Tensor], folder: Path) -> None:
    words = tensors[_WORDS]
    rows, width = words.shape
    data = bytearray(words.data)
    for row in random.Random(300).sample(range(rows), _CHANGED_ROWS):
        data[row * width * 2 : (row + 1) * width * 2] = _new_row(words, row)
    changed = Tensor(words.dtype, words.shape, bytes(data))
    write_safetensors(folder / "model.safetensors", tensors | {_WORDS: changed}, format="pt")


def _new_row(words: Tensor, seed: int) -> bytes:
    """A row like the others but new: each of its values is another row's in that column."""
    chance = random.Random(seed)
    rows, width = words.shape
    picked = ((chance.randrange(rows) * width + column) * 2 for column in range(width))
    return b"".join(words.data[at : at + 2] for at in picked)


_EDITS: Mapping[str, Callable[[dict[str, Tensor], Path], None]] = {
    "header edited": _header,
    f"resharded into {_SHARDS}": _resharded,
    "last 2 of 6 layers tuned": _last_layers,
    f"vocabulary grown by {_NEW_ROWS} rows": _grown,
    f"{_CHANGED_ROWS} scattered embedding rows changed": _scattered,
}


def make(folder: Path) -> dict[str, list[Path]]:
    """The files of each edit of MiniLM in bf16, made below `folder`."""
    tensors = read_safetensors(finetune.base())
    made = {}
    for number, (name, edit) in enumerate(_EDITS.items()):
        place = folder / f"edit{number}"
        place.mkdir()
        edit(tensors, place)
        made[name] = sorted(place.iterdir())
    return made
