"""The worker process of a merge: an adapter is added into the weights of its base.

The configuration's keys: `model`, a folder of safetensors or a GGUF file, `adapter`, a safetensors
file, `modules` (name → scale), and `made`, the folder to write to. The one request does all of it.

Of each file of the base, everything but the changed tensors is copied byte by byte: header, order
and gaps. So the merged file differs from the base's in the weights that the adapter changes, and a
delta capsule holds little else.
"""

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from outlast.codec.tensors import Tensor, parse
from outlast.engines.transformers_worker import close_doors
from outlast.engines.worker import Emit, Json, RefusedError, Runner, Stopped, work

_CHUNK: Final = 16 << 20
_FLOATS: Final = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_DEQUANTISED: Final = "dequantised"


class MergeRunner:
    """A merge that was described."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        import torch  # noqa: PLC0415 - after the hook
        from safetensors.torch import load_file  # noqa: PLC0415 - likewise

        torch.set_num_threads(1)
        self._torch = torch
        self._config = config
        self._scales: Mapping[str, float] = config["modules"]
        self._adapter = load_file(config["adapter"])
        self.facts: Json = {}

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        """The merge; the name is that of the protocol."""
        del request, stopped
        folder = Path(self._config["model"])
        if folder.suffix == ".gguf":
            folder = self._dequantise(folder)
        files = sorted(map(Path, glob.glob("*.safetensors", root_dir=folder)))
        made = Path(self._config["made"])
        left = set(self._scales)
        for file in files:
            with open(folder / file, "rb") as source, open(made / file.name, "wb") as target:
                left -= self._merge(source, target)
            emit({"merged": file.name})
        if left:
            raise RefusedError(
                f"the base has no weights of {min(left)!r:.100}: the adapter is of another model"
            )
        return {"done": True}

    def _merge(self, source: BinaryIO, target: BinaryIO) -> set[str]:
        """Copies a file with the changed tensors in it; the modules that it has."""
        size = os.fstat(source.fileno()).st_size

        def read(offset: int, length: int) -> bytes:
            source.seek(offset)
            return source.read(length)

        container = parse(read, size)
        if container is None or container.kind != "safetensors":
            raise RefusedError("a file of the base is no safetensors file")
        at, found = 0, set[str]()
        for tensor in container.tensors:
            module = tensor.name.removesuffix(".weight")
            if module not in self._scales or module == tensor.name:
                continue
            _copy(source, target, at, tensor.offset)
            target.write(self._changed(module, tensor, read(tensor.offset, tensor.length)))
            at = tensor.offset + tensor.length
            found.add(module)
        _copy(source, target, at, size)
        return found

    def _changed(self, module: str, tensor: Tensor, data: bytes) -> bytes:
        """The bytes of a tensor with the adapter's product added: in fp32, rounded once."""
        torch = self._torch
        if tensor.dtype not in _FLOATS:
            raise RefusedError(
                f"{tensor.name} is stored as {tensor.dtype}, which nothing can be added to"
            )
        dtype = getattr(torch, _FLOATS[tensor.dtype])
        down = self._adapter[f"base_model.model.{module}.lora_A.weight"].float()
        up = self._adapter[f"base_model.model.{module}.lora_B.weight"].float()
        if (up.shape[0], down.shape[1]) != tuple(tensor.shape):
            raise RefusedError(f"{tensor.name} has another shape than the adapter's product")
        base = torch.frombuffer(bytearray(data), dtype=dtype).reshape(tensor.shape)
        merged = (base.float() + self._scales[module] * (up @ down)).to(dtype).contiguous()
        return bytes(merged.view(torch.uint8).numpy().tobytes())

    def _dequantise(self, file: Path) -> Path:
        """The weights of a GGUF file as bf16, with configuration and tokenizer, beside it."""
        from outlast.features.tune.work.base_model import (  # noqa: PLC0415 - after the hook
            BaseModel,
            refused,
            save_dequantised,
        )

        base = BaseModel(str(file))
        try:
            model = base.weights("cpu").to(self._torch.bfloat16)
            tokenizer = base.tokenizer()
        except Exception as error:
            raise refused(error) from error
        folder = Path(_DEQUANTISED).absolute()
        save_dequantised(model, str(folder))
        del model
        tokenizer.save_pretrained(folder)
        made = Path(self._config["made"])
        for path in folder.iterdir():
            if path.suffix != ".safetensors":
                (made / path.name).write_bytes(path.read_bytes())
        return folder


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    while start < end:
        data = source.read(min(_CHUNK, end - start))
        if not data:
            raise RefusedError("a file of the base ended early")
        target.write(data)
        start += len(data)


def load(config: Json) -> Runner:
    """Reads the adapter; the base is read by the request."""
    close_doors()
    return MergeRunner(config)


def main() -> None:
    """Runs this process as a worker."""
    work(load)
