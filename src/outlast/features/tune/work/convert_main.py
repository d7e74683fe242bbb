"""The worker process of a conversion: llama.cpp's script runs in it, without network and pickle.

The configuration's keys: `script`, its file; `model`, a folder of safetensors, or a GGUF file whose
description is what counts; `name`, what the result calls the model; `lora`, null or the `file` of
an adapter and the `config` to write for it; `form`, the type of the numbers; `made`, the file
to write. The one request does all of it.
"""

import importlib.metadata
import json
import os
import runpy
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from outlast.engines.transformers_worker import close_doors
from outlast.engines.worker import Emit, Json, RefusedError, Runner, Stopped, work
from outlast.features.tune.work.names import CONFIG, WEIGHTS

_LORA: Final = "lora"
_DESCRIBED: Final = "described"
_LOG: Final = "--verbose shows its log"
_PACKAGES: Final = ("gguf", "torch", "transformers")


class ConvertRunner:
    """A conversion that was described."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        self.facts: Json = {"versions": versions}

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        """The conversion; the name is that of the protocol."""
        del request, emit, stopped
        config = self._config
        model = Path(config["model"])
        if model.suffix == ".gguf":
            model = _described(model)
        arguments = ["--outtype", config["form"], "--outfile", config["made"]]
        if config["lora"] is None:
            arguments += ["--model-name", config["name"], str(model)]
        else:
            arguments += ["--base", str(model.absolute()), str(_lora(config["lora"]))]
        _run(Path(config["script"]), arguments)
        if not os.path.isfile(config["made"]):
            raise RefusedError("the converter wrote nothing")
        return {"done": True}


def _run(script: Path, arguments: list[str]) -> None:
    """Runs the script as its command line does."""
    # A checkout brings a version of its own, and transformers may have imported the installed one.
    for name in [name for name in sys.modules if name.partition(".")[0] == "gguf"]:
        del sys.modules[name]
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise RefusedError(
                f"llama.cpp's converter refused it (exit status {end.code})",
                _LOG,
            ) from end
    except ImportError as error:
        raise RefusedError(
            f"llama.cpp's converter needs a package that is not installed: {error.name}",
            f"pip install {error.name}",
        ) from error
    except Exception as error:
        # It raises whatever it likes; the whole of it goes to the log.
        traceback.print_exc()
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RefusedError(f"llama.cpp's converter cannot do it: {said[:300]}", _LOG) from error


def _lora(given: Mapping[str, Any]) -> Path:
    """A folder as PEFT writes it, with a configuration that says no more than is needed."""
    folder = Path(_LORA).absolute()
    folder.mkdir()
    (folder / WEIGHTS).symlink_to(Path(given["file"]).resolve())
    (folder / CONFIG).write_text(json.dumps(given["config"]))
    return folder


def _described(file: Path) -> Path:
    """A folder with the configuration of a GGUF file, as transformers reads it."""
    import torch  # noqa: PLC0415 - after the hook
    import transformers  # noqa: PLC0415 - likewise

    folder = Path(_DESCRIBED).absolute()
    config = transformers.AutoConfig.from_pretrained(
        str(file.parent) or ".", gguf_file=file.name, local_files_only=True
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    return folder


def load(config: Json) -> Runner:
    """Reads nothing of the model yet."""
    close_doors()
    return ConvertRunner(config)


def main() -> None:
    """Runs this process as a worker."""
    work(load)
