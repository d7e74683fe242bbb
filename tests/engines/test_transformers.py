"""A safetensors folder through transformers; and folders that mean harm."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled, EngineError, UsageError
from outlast.engines.base import ChatMessage, Delta, Sampling, Usage
from outlast.engines.transformers import TransformersOptions, open_transformers
from outlast.engines.tuning import Tuning
from tests.campaign import LONG
from tests.engines.torch_env import ROOT

OPTIONS = TransformersOptions(device="cpu", threads=1)
HELLO = [ChatMessage("user", "the sea is")]
SHORT = Sampling(max_tokens=8, temperature=0)
LOOP = "{% for i in range(100000) %}"
END = "{% endfor %}"


@pytest.fixture
def folder(tiny: Callable[[bool], str], tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return Path(shutil.copytree(tiny(True), tmp_path / "model"))


def open_and_chat(
    folder: Path | str, options: TransformersOptions = OPTIONS
) -> list[Delta | Usage]:
    with open_transformers(str(folder), options, Cancel()) as engine:
        return list(engine.chat(HELLO, SHORT, Cancel()))


def configure(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


TEMPLATES = {
    "much memory": ("{{ 'a' * 10000000000 }}", "too much memory"),
    "a long prompt": ("{{ 'a' * 5000000 }}", "exceeds 4194304 characters"),
    "no program": ("{% for %}", "chat template failed"),
    "an error": ("{{ raise_exception('no\\nway') }}", "chat template failed: no"),
    "the interpreter": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "nothing": ("{# nothing #}", "prompt is empty"),
    "recursion": (
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "chat template failed: maximum recursion",
    ),
    "a file": ("{% include '/etc/passwd' %}", "chat template failed"),
}


def code(folder: Path) -> None:
    for name in ("conf", "weird"):
        trace = os.fspath(folder / "trace")
        (folder / f"{name}.py").write_text(f"open({trace!r}, 'w').close()")
    auto_map = {"AutoConfig": "conf.Config", "AutoModelForCausalLM": "weird.Model"}
    configure(folder, model_type="weird", architectures=["Model"], auto_map=auto_map)


def pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def adapter(folder: Path) -> None:
    """It names its base, which the libraries would fetch."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "_name_or_path": "org/name"}')
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/name"}')


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "code of its own": (code, "Python code of its own"),
    "pickle": (pickle, "no file named model.safetensors"),
    "truncated weights": (truncated, "cannot load the model"),
    "an unknown type": (partial(configure, model_type="gpt9"), "cannot load the model"),
    "a size of text": (partial(configure, hidden_size="x"), "cannot load the model"),
    "another size": (partial(configure, hidden_size=128), "cannot load the model"),
    "a base elsewhere": (adapter, "cannot load the model"),
}


@pytest.fixture(scope="module")
def spoilt(tiny: Callable[[bool], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of copies of the tiny model, each spoilt in one way but `whole` and `plain`."""
    folder = tmp_path_factory.mktemp("spoilt")
    for name in ("whole", *TEMPLATES, *SPOILT):
        shutil.copytree(tiny(True), folder / name)
    shutil.copytree(tiny(False), folder / "plain")
    for name, (template, _) in TEMPLATES.items():
        (folder / name / "chat_template.jinja").write_text(template)
    for name, (spoil, _) in SPOILT.items():
        spoil(folder / name)
    return folder


@pytest.fixture(scope="module")
def told(spoilt: Path) -> dict[str, Any]:
    """What the worker says of each of them: all are asked in one process. `open_transformers`
    makes errors of what a worker says; tests/engines/test_contract.py tests that.
    """
    names = sorted(path.name for path in spoilt.iterdir())
    paths = [os.fspath(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.ask_folders", *names],
        cwd=spoilt,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize(("name", "plain"), [("whole", False), ("plain", True)])
def test_without_a_chat_template_a_chat_is_a_completion(
    told: dict[str, Any], name: str, plain: bool
) -> None:
    assert told[name]["plain"] == plain
    assert told[name]["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize("name", TEMPLATES)
def test_hostile_chat_templates(told: dict[str, Any], name: str) -> None:
    assert TEMPLATES[name][1] in told[name]["refused"]


@pytest.mark.parametrize("name", SPOILT)
def test_models_that_cannot_be_loaded(told: dict[str, Any], spoilt: Path, name: str) -> None:
    assert SPOILT[name][1] in told[name]["refused"]
    assert not (spoilt / name / "trace").exists()


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="waits for a bound; llama.cpp's is tried each time")
def test_a_chat_template_that_never_ends(folder: Path) -> None:
    hurried = replace(OPTIONS, tuning=Tuning(prompt_seconds=1.0))
    (folder / "chat_template.jinja").write_text(LOOP * 3 + END * 3)
    with pytest.raises(EngineError, match="not ready within 1 seconds"):
        open_and_chat(folder, hurried)


def test_cancel_while_loading(folder: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        open_transformers(str(folder), OPTIONS, cancel)


def test_a_folder_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(EngineError, match=r"no config\.json"):
        open_and_chat(tmp_path)


def test_the_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineError, match="torch") as caught:
        open_and_chat(tmp_path)
    assert caught.value.hint == "pip install '.[transformers]' in a checkout of outlast"


def test_options_out_of_range() -> None:
    with pytest.raises(UsageError):
        TransformersOptions(threads=0)


def test_sealed_it_answers_all_the_same(tiny: Callable[[bool], str]) -> None:
    with open_transformers(tiny(True), replace(OPTIONS, sealed=True), Cancel()) as engine:
        *_, last = engine.chat(HELLO, SHORT, Cancel())
        assert isinstance(last, Usage)
        sealing = engine.sealing
    assert sealing is not None
    assert (sealing.requests, sealing.packets) == (1, 0)
    assert engine.build.startswith("transformers ")
