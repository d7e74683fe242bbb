"""A safetensors folder through transformers; and folders that mean harm."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled, EngineError, UsageError
from outlast.engines.base import ChatMessage, Delta, Sampling, Usage
from outlast.engines.conversation import WorkerEngine
from outlast.engines.transformers import TransformersOptions, open_transformers
from outlast.engines.tuning import Tuning

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


def test_without_a_chat_template_a_chat_is_a_completion(tiny: Callable[[bool], str]) -> None:
    with open_transformers(tiny(False), OPTIONS, Cancel()) as engine:
        assert engine.plain
        *_, usage = engine.chat(HELLO, SHORT, Cancel())
    assert isinstance(usage, Usage)
    assert usage.completion_tokens == 8


def test_the_model_fills_its_context_and_no_more(transformers: WorkerEngine) -> None:
    *_, usage = transformers.chat(HELLO, Sampling(temperature=0), Cancel())
    assert isinstance(usage, Usage)
    assert usage.finish == "stop" or usage.prompt_tokens + usage.completion_tokens == 512


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 'a' * 10000000000 }}", "too much memory"),
        ("{{ 'a' * 5000000 }}", "exceeds 4194304 characters"),
        ("{% for %}", "chat template failed"),
        ("{{ raise_exception('no\\nway') }}", "chat template failed: no"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{# nothing #}", "prompt is empty"),
    ],
)
def test_hostile_chat_templates(folder: Path, template: str, message: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(EngineError, match=message):
        open_and_chat(folder)


def test_a_chat_template_that_never_ends(folder: Path) -> None:
    hurried = replace(OPTIONS, tuning=Tuning(prompt_seconds=1.0))
    (folder / "chat_template.jinja").write_text(LOOP * 3 + END * 3)
    with pytest.raises(EngineError, match="not ready within 1 seconds"):
        open_and_chat(folder, hurried)


def test_code_of_the_model_is_not_run(folder: Path) -> None:
    trace = folder / "trace"
    for name in ("conf", "weird"):
        (folder / f"{name}.py").write_text(f"open({str(trace)!r}, 'w').close()")
    auto_map = {"AutoConfig": "conf.Config", "AutoModelForCausalLM": "weird.Model"}
    configure(folder, model_type="weird", architectures=["Model"], auto_map=auto_map)
    with pytest.raises(EngineError, match="Python code of its own"):
        open_and_chat(folder)
    assert not trace.exists()


def test_pickle_is_not_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match=r"no file named model\.safetensors"):
        open_and_chat(folder)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(EngineError, match="cannot load the model"):
        open_and_chat(folder)


@pytest.mark.parametrize(
    "values", [{"model_type": "gpt9"}, {"hidden_size": "x"}, {"hidden_size": 128}]
)
def test_configurations_that_do_not_fit(folder: Path, values: dict[str, object]) -> None:
    configure(folder, **values)
    with pytest.raises(EngineError, match="cannot load the model"):
        open_and_chat(folder)


def test_the_network_is_out_of_reach(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    # An adapter names its base, which the libraries would fetch.
    (folder / "config.json").write_text('{"model_type": "llama", "_name_or_path": "org/name"}')
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/name"}')
    with pytest.raises(EngineError, match="cannot load the model"):
        open_and_chat(folder)


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
    assert caught.value.hint == "pip install 'outlast[transformers]'"


def test_options_out_of_range() -> None:
    with pytest.raises(UsageError):
        TransformersOptions(threads=0)
