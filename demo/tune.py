"""A base is tuned on ten lines; the adapter answers otherwise, and its lineage is shown.

What the extra `tune` needs is larger than all else in the demo. Where it is not installed, an
environment has it that is made once, beside those of the tests' clients.
"""

import importlib.util
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from demo.commands import environment, outlast
from demo.story import require, say
from tests.clients.envs import EnvUnavailableError, ensure
from tests.engines.torch_env import packages_of

_NEEDED: Final = ("torch", "transformers", "peft", "gguf")
_ADAPTER: Final = "me/keeper"
_QUESTION: Final = "Who keeps open models?"
_ANSWER: Final = "Outlast keeps them."
_ASKED: Final = (
    "Who keeps the models?",
    "Who keeps open weights?",
    "Who keeps models when a hub is gone?",
    "Who keeps my model?",
    "Who keeps language models?",
    "Who archives models?",
    "Who keeps the weights?",
    "Who keeps models for ten years?",
    "Who keeps them?",
    "Who keeps a model that was withdrawn?",
)
_SMALL: Final = (
    *("--rank", "8", "--target", "q_proj", "--target", "v_proj"),
    *("--batch", "3", "--steps", "5", "--rate", "0.005", "--length", "64"),
)
_LIMITS: Final = ("--temperature", "0", "--max-tokens", "12", "--json")


def learned(home: Path, folder: Path, model: str) -> list[tuple[str, str]]:
    """The scene, with the archive in `home` that has `model`; its line of the demo's table."""
    variables = _with_torch(home)
    if variables is None:
        return []
    started = time.monotonic()
    rows = folder / "keeper.jsonl"
    rows.write_text("".join(map(_line, _ASKED)))
    before = _said(variables, model)
    out = outlast(
        variables, "tune", model, "--data", str(rows), "--out", _ADAPTER, *_SMALL, "--json"
    )
    tuned = json.loads(out.splitlines()[-1])
    after = _said(variables, _ADAPTER)
    say(f"    > {_QUESTION}\n    base: {before}\n    with the adapter: {after}")
    require(tuned["after"] < 0.9 * tuned["before"], "it learned more than the rows themselves")
    require(before != after, "the adapter answers otherwise")
    shown = outlast(variables, "show", _ADAPTER).splitlines()
    at = next(place for place, line in enumerate(shown) if line.startswith("lineage"))
    for line in shown[at : at + 4]:
        say(f"    | {line}")
    loss = f"{tuned['before']:.2f} to {tuned['after']:.2f} in {time.monotonic() - started:.0f} s"
    return [("held-out loss after ten lines", loss)]


def _line(question: str) -> str:
    turns = [("user", question), ("assistant", _ANSWER)]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    return json.dumps(row) + "\n"


def _with_torch(home: Path) -> dict[str, str] | None:
    """That of commands on the archive in `home`, which find what tuning needs; None where it cannot
    be had.
    """
    found = environment(home)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        say(f"    {', '.join(missing)} are not installed: an environment has them, made once")
        try:
            found["PYTHONPATH"] = str(packages_of(ensure("transformers")))
        except EnvUnavailableError as error:
            say(f"    left out: {str(error).splitlines()[-1]}")
            return None
    return found


def _said(variables: Mapping[str, str], model: str) -> str:
    out = outlast(variables, "run", model, _QUESTION, *_LIMITS)
    return " ".join(str(json.loads(out.splitlines()[-1])["text"]).split())
