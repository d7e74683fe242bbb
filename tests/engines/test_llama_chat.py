"""Chatting with a real GGUF model, and what bad files do (not) do to this process."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled, EngineError, UsageError
from outlast.engines import llama as llama_module
from outlast.engines.base import ChatMessage, Delta, Sampling, Usage
from outlast.engines.conversation import WorkerEngine
from outlast.engines.llama import LlamaOptions, open_llama
from outlast.engines.tuning import Tuning
from tests.engines.conftest import OPTIONS
from tests.engines.gguf_files import Parts, string, u32

HELLO = [ChatMessage("user", "Once upon a time, there was a")]
SHORT = Sampling(max_tokens=16, temperature=0)
SOURCE = Path(llama_module.__file__).parents[2]


def answer(engine: WorkerEngine) -> str:
    events = list(engine.chat(HELLO, SHORT, Cancel()))
    assert isinstance(events[-1], Usage)
    return "".join(event.text for event in events if isinstance(event, Delta))


def open_and_close(*files: Path | str, options: LlamaOptions = OPTIONS) -> None:
    open_llama([str(file) for file in files], options, Cancel()).close()


def changed(parts: Parts, path: Path, **values: bytes) -> Path:
    """A copy of the model with other metadata; keys have __ for the dots."""
    new = {key.replace("__", "."): value for key, value in values.items()}
    return Parts({**parts.pairs, **new}, parts.tensors, parts.data).write(path)


@pytest.mark.parametrize("keep", [0.0, 8e-8, 1e-5, 0.01, 0.5, 0.999999])
def test_truncated_files(weights: Path, tmp_path: Path, keep: float) -> None:
    size = int(weights.stat().st_size * keep)
    short = tmp_path / "short"
    with weights.open("rb") as whole:
        short.write_bytes(whole.read(size))
    with pytest.raises(EngineError, match=r"cut short|not a GGUF"):
        open_and_close(short)


def test_a_file_that_makes_llama_cpp_abort(
    llama: WorkerEngine, parts: Parts, tmp_path: Path
) -> None:
    bad = changed(parts, tmp_path / "bad", llama__block_count=u32(0))
    with pytest.raises(EngineError, match=r"SIGABRT.*ASSERT"):
        open_and_close(bad)
    assert answer(llama)


def test_an_unknown_architecture(parts: Parts, tmp_path: Path) -> None:
    bad = changed(parts, tmp_path / "bad", general__architecture=string("gpt9"))
    with pytest.raises(EngineError, match="architecture 'gpt9'") as caught:
        open_and_close(bad)
    assert "pip install -U xllamacpp" in caught.value.hint


def test_a_projector_is_not_a_model(parts: Parts, tmp_path: Path) -> None:
    bad = changed(parts, tmp_path / "bad", general__architecture=string("clip"))
    with pytest.raises(EngineError, match="projector"):
        open_and_close(bad)


def test_a_missing_tensor(parts: Parts, tmp_path: Path) -> None:
    bad = Parts(parts.pairs, parts.tensors[1:], parts.data).write(tmp_path / "bad")
    with pytest.raises(EngineError, match=r"cannot load .*tensor") as caught:
        open_and_close(bad)
    assert "verify" in caught.value.hint


def test_a_broken_chat_template(parts: Parts, tmp_path: Path) -> None:
    bad = changed(parts, tmp_path / "bad", tokenizer__chat_template=string("{% for %}"))
    with pytest.raises(EngineError, match="chat template"):
        open_and_close(bad)


def test_a_chat_template_that_never_ends(parts: Parts, tmp_path: Path) -> None:
    hurried = replace(OPTIONS, tuning=Tuning(template_seconds=1.0))
    loop = "{% for i in range(100000) %}"
    endless = string(loop * 3 + "{% endfor %}" * 3)
    bad = changed(parts, tmp_path / "bad", tokenizer__chat_template=endless)
    with pytest.raises(EngineError, match="did not finish in 1 seconds"):
        open_and_close(bad, options=hurried)


def test_a_model_without_a_chat_template_completes(parts: Parts, tmp_path: Path) -> None:
    pairs = {k: v for k, v in parts.pairs.items() if k != "tokenizer.chat_template"}
    plain = Parts(pairs, parts.tensors, parts.data).write(tmp_path / "plain")
    with open_llama([str(plain)], OPTIONS, Cancel()) as engine:
        assert engine.plain
        assert answer(engine)


def test_a_split_model(llama: WorkerEngine, parts: Parts, tmp_path: Path) -> None:
    whole = answer(llama)
    named = parts.split(tmp_path, "smol")
    with open_llama([str(named[0])], OPTIONS, Cancel()) as engine:
        assert answer(engine) == whole
    blobs = [path.rename(tmp_path / f"blob{number}") for number, path in enumerate(named)]
    with open_llama([str(blob) for blob in blobs], OPTIONS, Cancel()) as engine:
        assert answer(engine) == whole
    with pytest.raises(EngineError, match="part 2 of 2"):
        open_and_close(blobs[1])
    with pytest.raises(EngineError, match="its name does not tell"):
        open_and_close(blobs[0])
    with pytest.raises(EngineError, match="is not part 2"):
        open_and_close(blobs[0], blobs[0])
    with pytest.raises(EngineError, match="has 2 parts, and 3 were given"):
        open_and_close(*blobs, blobs[1])


def test_cancel_while_loading(model: str) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        open_llama([model], OPTIONS, cancel)


def test_an_answer_that_does_not_stop_is_ended_by_force(model: str) -> None:
    hurried = replace(OPTIONS, tuning=Tuning(stop_seconds=-1.0))
    with open_llama([model], hurried, Cancel()) as engine:
        chat = engine.chat(HELLO, Sampling(max_tokens=500, temperature=1.5), Cancel())
        next(chat)
        chat.close()  # type: ignore[attr-defined]
        assert answer(engine)


def test_a_worker_that_dies(model: str) -> None:
    with open_llama([model], OPTIONS, Cancel()) as engine:
        chat = engine.chat(HELLO, Sampling(max_tokens=500, temperature=1.5), Cancel())
        next(chat)
        assert engine._worker is not None
        engine._worker._process.kill()
        with pytest.raises(EngineError, match="SIGKILL"):
            list(chat)
        assert answer(engine)


def test_a_closed_engine(model: str) -> None:
    engine = open_llama([model], OPTIONS, Cancel())
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(engine.chat(HELLO, SHORT, Cancel()))


def test_the_log_goes_where_it_is_wanted(model: str) -> None:
    lines: list[str] = []
    open_and_close(model, options=LlamaOptions(context=512, threads=1, log=lines.append))
    assert any("load" in line for line in lines)


def test_who_waits_is_told_since_when(model: str) -> None:
    seconds: list[float] = []
    open_and_close(model, options=LlamaOptions(context=512, threads=1, waits=seconds.append))
    assert seconds[0] >= 0
    assert seconds == sorted(seconds)


def test_nothing_is_printed_and_nothing_is_left(model: str, tmp_path: Path) -> None:
    # Modules in the folder that the user is in must not be taken for Python's own.
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    (tmp_path / "tmp").mkdir()
    script = f"""
        import sys
        sys.path.insert(0, {str(SOURCE)!r})
        from outlast.engines.base import ChatMessage, Sampling
        from outlast.engines.llama import LlamaOptions, open_llama
        from outlast.core.cancel import Cancel
        with open_llama([{model!r}], LlamaOptions(context=512, threads=1), Cancel()) as engine:
            for _ in engine.chat([ChatMessage("user", "Hi")], Sampling(max_tokens=4), Cancel()):
                pass
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(script)],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert not list((tmp_path / "tmp").iterdir())


def test_xllamacpp_missing(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineError) as caught:
        open_and_close(model)
    assert caught.value.hint == "pip install '.[run]' in a checkout of outlast"


@pytest.mark.parametrize("wrong", [{"context": -1}, {"threads": 0}, {"gpu_layers": -1}])
def test_options_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        LlamaOptions(**wrong)  # type: ignore[arg-type]
