"""What both sides of the worker process call things."""

from typing import Final

GGUF: Final = "base.gguf"
"""What the worker knows the file of a GGUF base by."""
WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
CHECKPOINT: Final = "checkpoint"
CARD: Final = "README.md"
