"""The fine-tune that the delta capsules are measured on: MiniLM, trained for some steps on pairs of
sentences. `python -m bench.codec.recipe BASE VOCABULARY FOLDER`, in the peers' environment (torch).

Contrastive, as its makers trained it: of two halves of one sentence, the embedding of the one has
to find the other among those of the batch. The sentences are made of the model's own whole words
from a fixed seed; a word's frequency falls with the root of its rank, so that a special field's
rare words come up too. All weights are trained with AdamW in fp32, beginning at the base's bf16
values, and rounded to bf16 at the end.
"""

import itertools
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as nn

from tests.realweights import Tensor, read_safetensors, write_safetensors

SEED = 7
RATE = 3e-5
DECAY = 0.01
STEPS = (15, 60)
STRETCHED = (8, 40)
"""How often the difference of the last step is added to the base again, as if trained longer."""
_BATCH = 24
_LENGTH = 24
_TEMPERATURE = 0.05
_LAYERS, _HEADS = 6, 12
_CLS, _SEP, _PAD = 101, 102, 0
_EPSILON = 1e-12

Weights = dict[str, torch.Tensor]


def main() -> None:
    """Trains; writes STEPS.safetensors and xFACTOR.safetensors into the folder."""
    base, vocabulary, folder = map(Path, sys.argv[1:4])
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tensors = read_safetensors(base)
    start = {name: _values(tensor) for name, tensor in tensors.items() if tensor.dtype == "BF16"}
    weights = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.AdamW(list(weights.values()), lr=RATE, weight_decay=DECAY)
    for step, batch in enumerate(itertools.islice(_batches(vocabulary), STEPS[-1]), 1):
        loss = _loss(weights, *batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in STEPS:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
            _write(folder / f"{step}.safetensors", tensors, weights)
    for factor in STRETCHED:
        further = {n: start[n] + factor * (w.detach() - start[n]) for n, w in weights.items()}
        _write(folder / f"x{factor}.safetensors", tensors, further)


def _values(tensor: Tensor) -> torch.Tensor:
    raw = torch.frombuffer(bytearray(tensor.data), dtype=torch.bfloat16)
    return raw.reshape(tensor.shape).float()


def _write(path: Path, like: dict[str, Tensor], weights: Weights) -> None:
    def rounded(name: str, tensor: Tensor) -> Tensor:
        if name not in weights:
            return tensor
        data = weights[name].detach().bfloat16().view(torch.uint16).numpy().tobytes()
        return Tensor(tensor.dtype, tensor.shape, data)

    write_safetensors(path, {name: rounded(name, t) for name, t in like.items()}, format="pt")


def _batches(vocabulary: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless pairs of (batch, words) token numbers: two halves of each sentence."""
    tokens = vocabulary.read_text(encoding="utf-8").splitlines()
    words = [n for n, token in enumerate(tokens) if token.isascii() and token.isalpha()]
    chance = random.Random(SEED)
    frequencies = list(itertools.accumulate(rank**-0.5 for rank in range(1, len(words) + 1)))
    while True:
        pairs = [_halves(words, frequencies, chance) for _ in range(_BATCH)]
        yield torch.tensor([left for left, _ in pairs]), torch.tensor([right for _, right in pairs])


def _halves(
    words: list[int], frequencies: list[float], chance: random.Random
) -> tuple[list[int], list[int]]:
    """Two texts that share every third word, the sentence's topic."""
    count = chance.randint(8, _LENGTH - 2)
    left, right = (chance.choices(words, cum_weights=frequencies, k=count) for _ in range(2))
    right[::3] = left[::3]
    chance.shuffle(right)
    return _tokens(left), _tokens(right)


def _tokens(sentence: list[int]) -> list[int]:
    return [_CLS, *sentence, _SEP, *[_PAD] * (_LENGTH - 2 - len(sentence))]


def _loss(weights: Weights, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    scores = _embed(weights, left) @ _embed(weights, right).T / _TEMPERATURE
    return nn.cross_entropy(scores, torch.arange(len(left)))


def _embed(weights: Weights, tokens: torch.Tensor) -> torch.Tensor:
    """The unit-length mean of the last layer, as all-MiniLM-L6-v2 defines it."""
    kept = tokens != _PAD
    start = "embeddings"
    x = weights[f"{start}.word_embeddings.weight"][tokens]
    x = x + weights[f"{start}.position_embeddings.weight"][: tokens.shape[1]]
    x = _norm(weights, start, x + weights[f"{start}.token_type_embeddings.weight"][0])
    for number in range(_LAYERS):
        x = _layer(weights, f"encoder.layer.{number}", x, kept)
    mean = (x * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)
    return nn.normalize(mean)


def _layer(weights: Weights, name: str, x: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    batch, length, width = x.shape

    def heads(part: str) -> torch.Tensor:
        projected = _linear(weights, f"{name}.attention.self.{part}", x)
        return projected.view(batch, length, _HEADS, width // _HEADS).transpose(1, 2)

    seen = nn.scaled_dot_product_attention(
        heads("query"), heads("key"), heads("value"), attn_mask=kept[:, None, None, :]
    )
    seen = seen.transpose(1, 2).reshape(batch, length, width)
    attention = f"{name}.attention.output"
    x = _norm(weights, attention, x + _linear(weights, f"{attention}.dense", seen))
    inner = nn.gelu(_linear(weights, f"{name}.intermediate.dense", x))
    return _norm(weights, f"{name}.output", x + _linear(weights, f"{name}.output.dense", inner))


def _linear(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return nn.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    name = f"{name}.LayerNorm"
    shape = x.shape[-1:]
    return nn.layer_norm(x, shape, weights[f"{name}.weight"], weights[f"{name}.bias"], _EPSILON)


if __name__ == "__main__":
    main()
