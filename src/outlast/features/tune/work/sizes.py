"""What a tuning takes, estimated before any of it is taken."""

from dataclasses import dataclass
from typing import Any, Final

import torch

from outlast.features.tune.options import ALL_LINEAR, TuneOptions

_LIBRARIES: Final = 600 << 20
"""Bytes of torch, transformers and PEFT in memory, measured with SmolLM2: 520 to 590 MB."""
_HIDDEN: Final = 20
_INTERMEDIATE: Final = 6
"""Values of a layer that are kept for each token until its gradient is computed, in multiples of
its width and of its inner width. Counted for Llama: inputs of the norms, queries, keys, values and
their products; gate, up, their product, and what each LoRA keeps of them."""
_LOGITS: Final = 4
"""Copies of the logits: as computed, in fp32, their softmax, and their gradient."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What a model consists of: `parameters` numbers, `layers` of `hidden` values each with
    `intermediate` within, a `vocabulary`, and a `context` in tokens.
    """

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    context: int


@dataclass(frozen=True, slots=True)
class TuneEstimate:
    """Bytes: of `memory` while training, of which `weights` are the base's, and of `disk` for
    checkpoints and the adapter. `trainable`: numbers that are learned.
    """

    memory: int
    weights: int
    disk: int
    trainable: int


def trainable_of(model: Any, options: TuneOptions) -> int:
    """The numbers of an adapter for a model, whose weights need not be there."""
    output = model.get_output_embeddings()
    found = 0
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or module is output:
            continue
        if ALL_LINEAR in options.targets or name.rpartition(".")[2] in options.targets:
            found += options.rank * (module.in_features + module.out_features)
    return found


def estimate(
    size: ModelSize, trainable: int, longest: int, options: TuneOptions, gguf: int
) -> TuneEstimate:
    """`longest`: tokens of the longest row; `gguf`: bytes of the file that is dequantised, or 0."""
    width = 4 if options.device == "cpu" else 2
    weights = size.parameters * width
    tokens = options.batch * min(longest, options.length)
    layer = _HIDDEN * size.hidden + _INTERMEDIATE * size.intermediate
    kept = tokens * layer * size.layers * width + tokens * size.vocabulary * 4 * _LOGITS
    learned = trainable * 4 * 4  # the weights, their gradients, and two moments
    # While a GGUF file is read, a second copy of the weights is there.
    loading = weights + gguf if gguf else 0
    memory = _LIBRARIES + weights + learned + max(kept, loading)
    # The checkpoint and the one that takes its place, and the adapter twice.
    return TuneEstimate(memory, weights, trainable * 4 * (3 * 2 + 2), trainable)
