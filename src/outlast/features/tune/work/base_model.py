"""The base of a tuning: its tokenizer, its size before memory is taken, and its weights."""

import importlib.metadata
import os
from typing import Any, Final

import torch
import transformers

from outlast.engines.worker import RefusedError
from outlast.features.tune.options import TuneOptions
from outlast.features.tune.work.sizes import ModelSize, trainable_of

HERE: Final[dict[str, Any]] = {"local_files_only": True, "trust_remote_code": False}


class BaseModel:
    """A model in a folder of safetensors, or in one GGUF file, which is then dequantised."""

    def __init__(self, place: str) -> None:
        self._gguf = place.endswith(".gguf")
        self._folder = os.path.dirname(place) or "." if self._gguf else place
        self._more: dict[str, Any] = dict(HERE)
        if self._gguf:
            self._more["gguf_file"] = os.path.basename(place)

    def tokenizer(self) -> Any:
        return transformers.AutoTokenizer.from_pretrained(self._folder, **self._more)

    def size(self) -> ModelSize:
        """Reads the description of the model, and none of its weights."""
        model = self._without_weights()
        text = model.config.get_text_config()
        hidden = int(text.hidden_size)
        return ModelSize(
            parameters=sum(p.numel() for p in model.parameters()),
            layers=int(text.num_hidden_layers),
            hidden=hidden,
            intermediate=int(getattr(text, "intermediate_size", None) or 4 * hidden),
            vocabulary=int(text.vocab_size),
            context=int(getattr(text, "max_position_embeddings", None) or 4096),
        )

    def trainable(self, options: TuneOptions) -> int:
        """The numbers that an adapter of the model has; reads none of its weights."""
        return trainable_of(self._without_weights(), options)

    def weights(self, device: str) -> Any:
        """The model on `device`: in fp32 on a CPU, which computes with it fastest, else in bf16."""
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self._folder, dtype=dtype, use_safetensors=True, **self._more
        )
        return model.to(device)

    def _without_weights(self) -> Any:
        config = transformers.AutoConfig.from_pretrained(self._folder, **self._more)
        with torch.device("meta"):
            return transformers.AutoModelForCausalLM.from_config(config)


def save_dequantised(model: Any, folder: str) -> None:
    """Writes the weights of a GGUF file, which are floats by now, as safetensors. Transformers
    still takes them for quantised, and would refuse.
    """
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)


def refused(error: Exception) -> RefusedError:
    """What a library raised, as one line."""
    text = str(error).strip() or type(error).__name__
    if "trust_remote_code" in text or "custom code" in text:
        return RefusedError("the model needs Python code of its own, which outlast does not run")
    return RefusedError(f"transformers cannot load the model: {text.splitlines()[0]}")


def version_of(name: str) -> str:
    """Of an installed package."""
    return importlib.metadata.version(name)
