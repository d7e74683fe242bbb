"""What a tensor is in a network, by its name: the same word for the names of Hugging Face, of the
first Llama and of GGUF.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from outlast.codec.tensors import Tensor


class TensorRole(StrEnum):
    """`UP` is also the first matrix of an MLP without a gate. `GATE_UP` has the rows of both, the
    gate's first.
    """

    EMBEDDING = "embedding"
    GATE = "gate"
    UP = "up"
    GATE_UP = "gate-up"
    DOWN = "down"
    VALUE = "value"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, order=True)
class TensorPlace:
    """Where a tensor stands: in which part of the model ("" where it has one), in which layer from
    0 (-1: in none), as what.
    """

    part: str
    layer: int
    role: TensorRole


_LAYER: Final = re.compile(r"(?:\A|\.)(?:layers?|h|blk|blocks?)\.(\d{1,5})\.(.+)\Z")
_EXPERT: Final = re.compile(r"experts\.(\d{1,5})\.")
_ROLES: Final = (
    (TensorRole.GATE_UP, re.compile(r"(?:gate_up_proj|ffn_gate_up_exps)(?:\.weight)?\Z")),
    (TensorRole.GATE, re.compile(r"(?:gate_proj|ffn_gate|ffn_gate_exps|\bw1|wi_0)(?:\.weight)?\Z")),
    (
        TensorRole.UP,
        re.compile(
            r"(?:up_proj|ffn_up|ffn_up_exps|\bw3|wi_1|\bwi|\bfc1|dense_h_to_4h"
            r"|intermediate\.dense|linear_0)(?:\.weight)?\Z"
        ),
    ),
    (
        TensorRole.DOWN,
        re.compile(r"(?:down_proj|ffn_down|ffn_down_exps|\bw2|\bfc2|dense_4h_to_h)(?:\.weight)?\Z"),
    ),
    (TensorRole.VALUE, re.compile(r"(?:v_proj|attn_v|\bwv|attention\.self\.value)(?:\.weight)?\Z")),
    (
        TensorRole.OUTPUT,
        re.compile(r"(?:o_proj|attn_output|out_proj|attention\.wo)(?:\.weight)?\Z"),
    ),
)
_WIDE_DOWN: Final = re.compile(r"mlp\.c_proj(?:\.weight)?\Z")
_EMBEDDING: Final = re.compile(
    r"(?:\A|\.)(?:embed_tokens|token_embd|wte|word_embeddings|embed_in|tok_embeddings|shared)"
    r"(?:\.weight)?\Z"
)
_PARTS: Final = (
    ("vision", re.compile(r"(?:\A|\.)(?:vision\w*|visual)\.|\Av\.")),
    ("audio", re.compile(r"(?:\A|\.)audio\w*\.|\Aa\.")),
    ("decoder", re.compile(r"(?:\A|\.)(?:decoder|dec)\.")),
    ("encoder", re.compile(r"(?:\A|\.)(?:encoder|enc)\.")),
)


def places(tensors: Sequence[Tensor]) -> dict[TensorPlace, Tensor]:
    """The tensors of which the name tells what they are; of experts the first. Two of one place:
    neither counts. A model that has one part alone has no name for it: GGUF has none either.
    """
    found: dict[TensorPlace, Tensor] = {}
    twice: set[TensorPlace] = set()
    for tensor in tensors:
        place = _place(tensor)
        if place is None:
            continue
        if place in found:
            twice.add(place)
        found[place] = tensor
    for place in twice:
        del found[place]
    parts = {place.part for place in found if place.role is not TensorRole.EMBEDDING}
    if len(parts) != 1:
        return found
    return {TensorPlace("", place.layer, place.role): tensor for place, tensor in found.items()}


def _place(tensor: Tensor) -> TensorPlace | None:
    if len(tensor.shape) not in (2, 3):
        return None
    part = next((word for word, pattern in _PARTS if pattern.search(tensor.name)), "")
    if _EMBEDDING.search(tensor.name):
        return TensorPlace(part, -1, TensorRole.EMBEDDING)
    layer = _LAYER.search(tensor.name)
    if layer is None:
        return None
    expert = _EXPERT.search(layer[2])
    if expert is not None and int(expert[1]):
        return None
    if _WIDE_DOWN.search(layer[2]) and tensor.shape[-2] > tensor.shape[-1]:
        # GPT-2 keeps its matrices turned: here the rows of the second one are the hidden units.
        return TensorPlace(part, int(layer[1]), TensorRole.UP)
    role = next((role for role, pattern in _ROLES if pattern.search(layer[2])), None)
    return None if role is None else TensorPlace(part, int(layer[1]), role)


def layer_pairs(
    one: Iterable[TensorPlace], other: Iterable[TensorPlace], ends: int
) -> list[tuple[str, int, int]]:
    """(part, layer of the one, layer of the other): the first `ends` layers of both, and as many
    last ones counted from behind; no layer twice. It depends on names alone.
    """
    first, second = _depths(one), _depths(other)
    found: list[tuple[str, int, int]] = []
    for part in sorted(first.keys() & second.keys()):
        mine, theirs = first[part], second[part]
        least = min(len(mine), len(theirs))
        front = min(ends, (least + 1) // 2)
        back = min(ends, least - front)
        found += [(part, mine[at], theirs[at]) for at in range(front)]
        found += [(part, mine[-at], theirs[-at]) for at in range(back, 0, -1)]
    return found


def _depths(found: Iterable[TensorPlace]) -> dict[str, list[int]]:
    layers: dict[str, set[int]] = {}
    for place in found:
        if place.layer >= 0:
            layers.setdefault(place.part, set()).add(place.layer)
    return {part: sorted(numbers) for part, numbers in layers.items()}


def common_width(tensors: Iterable[Tensor]) -> int:
    """The length of most rows of matrices: the model's width; 0 where there are none."""
    widths = Counter(tensor.shape[-1] for tensor in tensors if len(tensor.shape) == 2)
    return max(widths, key=lambda width: (widths[width], width), default=0)
