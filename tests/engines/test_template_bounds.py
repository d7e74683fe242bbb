"""Hostile chat templates end in one line, within their bounds, and the next chat works."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.engines.base import ChatMessage, Sampling, Usage
from outlast.engines.conversation import WorkerEngine
from outlast.engines.llama import open_llama
from outlast.engines.tuning import TUNING
from tests.engines.conftest import OPTIONS
from tests.engines.gguf_files import Parts, string
from tests.engines.serving import refused, serving_with

TEMPLATE = """{%- set said = messages[0].content -%}
{%- if said == "loop" -%}
{%- for a in range(100000) -%}{%- for b in range(100000) -%}{%- for c in range(100000) -%}
{%- set x = a + b + c -%}{%- endfor -%}{%- endfor -%}{%- endfor -%}
{%- elif said == "huge" -%}
{%- for a in range(300) -%}{{ "0123456789" * 1024 }}{%- endfor -%}
{%- elif said == "secret" -%}
{{ "x".__class__.__base__.__subclasses__() }}
{%- endif -%}
{%- for message in messages %}{{ message.role }}: {{ message.content }}
{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"""
# Short, as tests have to wait for them.
OPTIONS_ = replace(OPTIONS, tuning=replace(TUNING, template_seconds=4.0, template_bytes=1 << 20))
SHORT = Sampling(max_tokens=1)


def written(parts: Parts, folder: Path, template: str) -> str:
    path = folder / "model"
    pairs = {**parts.pairs, "tokenizer.chat_template": string(template)}
    Parts(pairs, parts.tensors, parts.data).write(path)
    return str(path)


@pytest.fixture(scope="module")
def hostile(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(parts, tmp_path_factory.mktemp("hostile"), TEMPLATE)


@pytest.fixture(scope="module")
def chatting(hostile: str) -> Iterator[WorkerEngine]:
    with open_llama([hostile], OPTIONS_, Cancel()) as engine:
        yield engine


def chat(engine: WorkerEngine, text: str) -> object:
    return list(engine.chat([ChatMessage("user", text)], SHORT, Cancel()))[-1]


@pytest.mark.parametrize(
    ("text", "why"),
    [("loop", "did not finish in 4 seconds"), ("huge", "wrote more than 1 MiB")],
)
def test_a_chat_ends_and_the_next_works(chatting: WorkerEngine, text: str, why: str) -> None:
    with pytest.raises(EngineError, match=why) as caught:
        chat(chatting, text)
    assert "\n" not in str(caught.value)
    assert "hostile" in caught.value.hint
    assert isinstance(chat(chatting, "fine"), Usage)


def test_attributes_of_python_are_not_there(chatting: WorkerEngine) -> None:
    try:
        chat(chatting, "secret")
    except EngineError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right: there is no Python
    assert isinstance(chat(chatting, "fine"), Usage)


@pytest.mark.parametrize(
    "template",
    [
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os.listdir('/') }}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
        "{% for m in messages %}" * 3_000 + "{% endfor %}" * 3_000,
    ],
    ids=["include", "import", "recursion", "parentheses", "loops"],
)
def test_what_no_template_may_do(parts: Parts, tmp_path: Path, template: str) -> None:
    """At loading or at the chat, it ends in one line."""
    path = written(parts, tmp_path, template)
    with pytest.raises(EngineError) as caught, open_llama([path], OPTIONS_, Cancel()) as engine:
        chat(engine, "fine")
    assert "\n" not in str(caught.value)
    assert "root:" not in str(caught.value)


def test_the_api_refuses_what_is_too_long_and_ends_on_what_does_not_end(hostile: str) -> None:
    def messages(text: str) -> dict[str, object]:
        return {"messages": [{"role": "user", "content": text}], "max_tokens": 1}

    def until_it_ends() -> None:
        with serving_with(hostile, OPTIONS_) as server:
            error = refused(server, "/v1/chat/completions", messages("huge"), 400)
            assert "wrote more than 1 MiB" in error["message"]
            refused(server, "/v1/responses", {"input": "huge"}, 400)
            error = refused(server, "/v1/messages", messages("loop"), 503)
            assert "chat template did not finish" in error["message"]

    with pytest.raises(EngineError, match="did not finish in 4 seconds"):
        until_it_ends()
