"""Gives a copy of the tiny model Python files of its own, so that transformers needs them."""

import json
import shutil
from pathlib import Path

CONFIG = """\
from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "own"
"""
MODEL = """\
from transformers import LlamaForCausalLM

from .configuration_own import OwnConfig
from .noted import note

note()


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""
AUTO_MAP = {
    "AutoConfig": "configuration_own.OwnConfig",
    "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
}


def noting(trace: Path) -> str:
    """Code that leaves a trace where it runs."""
    return f"def note():\n    open({str(trace)!r}, 'a').write('ran')\n"


def build_model_with_code(tiny: str, folder: Path, trace: Path) -> Path:
    """A copy of the folder `tiny`, with three Python files that its model is made of."""
    shutil.copytree(tiny, folder)
    (folder / "configuration_own.py").write_text(CONFIG)
    (folder / "modeling_own.py").write_text(MODEL)
    (folder / "noted.py").write_text(noting(trace))
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"model_type": "own", "architectures": ["OwnForCausalLM"], "auto_map": AUTO_MAP}
    path.write_text(json.dumps(config))
    return folder
