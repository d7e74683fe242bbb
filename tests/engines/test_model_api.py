"""What the API of a model refuses, what it enforces, and in which words; with a real model."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.gguf_files import Parts, string
from tests.engines.serving import MODEL, REFS, Serving, ask, call, refused, serving

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Weather in Rome?"}], "max_tokens": 120}
TEMPLATE = """{%- if tools %}<|im_start|>system
Functions:{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
Answer with <tool_call>
{"name": "function", "arguments": {}}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.tool_calls %}<|im_start|>assistant
{% for call in message.tool_calls %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


CITY = {"type": "string", "enum": ["Rome", "Oslo"]}
WEATHER = tool("get_weather", city=CITY)
SUM = tool("add_up", a={"type": "boolean"}, b={"type": "boolean"})
NAMED = {"type": "function", "function": {"name": "add_up"}}


@pytest.fixture(scope="module")
def server(model: str) -> Iterator[Serving]:
    with serving(model) as running:
        yield running


@pytest.fixture(scope="module")
def with_tools(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The model with a chat template that presents tools."""
    path = tmp_path_factory.mktemp("tools") / "model"
    pairs = {**parts.pairs, "tokenizer.chat_template": string(TEMPLATE)}
    Parts(pairs, parts.tensors, parts.data).write(path)
    with serving(str(path)) as running:
        yield running


@pytest.mark.parametrize(
    "name", [None, "", MODEL, "name", *(f"{one}@{ref}" for one in (MODEL, "name") for ref in REFS)]
)
def test_names_of_the_model_that_is_loaded(server: Serving, name: str | None) -> None:
    answer = ask(server, CHAT, {**HELLO, "model": name, "max_tokens": 1})
    assert answer["model"] == MODEL


@pytest.mark.parametrize("name", ["wrong/name", "org", "ORG/NAME", f"{MODEL}@other", "a\x1b[31m"])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses"])
def test_another_model_is_not_answered_by_this_one(server: Serving, path: str, name: str) -> None:
    error = refused(server, path, {**HELLO, "model": name, "prompt": "x", "input": "x"}, 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert f"loaded: {MODEL}" in error["message"]
    assert "\x1b" not in error["message"]


def test_the_entry_of_another_model(server: Serving) -> None:
    status, data, _ = call(server, "/v1/models/wrong/name")
    assert (status, json.loads(data)["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("path", "extra"),
    [
        (CHAT, {"tools": [WEATHER]}),
        (CHAT, {"tools": [WEATHER], "tool_choice": "required"}),
        (CHAT, {"tools": [WEATHER], "tool_choice": "none"}),
        ("/v1/responses", {"tools": [{"type": "function", "name": "f"}], "input": "x"}),
        ("/v1/messages", {"tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
        ("/apply-template", {"tools": [WEATHER]}),
    ],
)
def test_tools_are_never_dropped_in_silence(
    server: Serving, path: str, extra: dict[str, Any]
) -> None:
    error = refused(server, path, {**HELLO, **extra}, 400)
    assert error["code"] == "tools_not_supported"
    assert "chat template has no tools" in error["message"]


@pytest.mark.parametrize("choice", ["auto", "none", None])
def test_tools_where_the_template_has_them(with_tools: Serving, choice: str | None) -> None:
    plain = ask(with_tools, CHAT, HELLO)["usage"]["prompt_tokens"]
    body = {**HELLO, "tools": [WEATHER], "tool_choice": choice}
    assert ask(with_tools, CHAT, body)["usage"]["prompt_tokens"] > plain + 20


@pytest.mark.parametrize(
    ("choice", "names"), [("required", {"get_weather", "add_up"}), (NAMED, {"add_up"})]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_enforced(
    with_tools: Serving, choice: Any, names: set[str], stream: bool
) -> None:
    body = {**HELLO, "tools": [WEATHER, SUM], "tool_choice": choice, "temperature": 0}
    if stream:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        status, data, headers = call(with_tools, CHAT, body | options)
        assert (status, headers.get_content_type()) == (200, "text/event-stream")
        lines = [line.removeprefix("data: ") for line in data.decode().splitlines() if line]
        assert lines[-1] == "[DONE]"
        *events, usage = map(json.loads, lines[:-1])
        assert usage["usage"]["completion_tokens"] > 0
        calls = events[0]["choices"][0]["delta"]["tool_calls"]
        finish = events[-1]["choices"][0]["finish_reason"]
    else:
        choice_ = ask(with_tools, CHAT, body)["choices"][0]
        calls, finish = choice_["message"]["tool_calls"], choice_["finish_reason"]
        assert choice_["message"]["content"] is None
    assert finish == "tool_calls"
    [made] = calls
    assert made["id"].startswith("call_")
    assert made["function"]["name"] in names
    arguments = json.loads(made["function"]["arguments"])
    assert set(arguments) in ({"city"}, {"a", "b"})


def test_a_call_whose_schema_has_references(with_tools: Serving) -> None:
    referring = tool("pick", city={"$ref": "#/$defs/City"})
    referring["function"]["parameters"]["$defs"] = {"City": CITY}
    body = {**HELLO, "tools": [referring], "tool_choice": "required"}
    [made] = ask(with_tools, CHAT, body)["choices"][0]["message"]["tool_calls"]
    assert json.loads(made["function"]["arguments"])["city"] in CITY["enum"]


def test_a_call_that_is_cut_says_so(with_tools: Serving) -> None:
    body = {**HELLO, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 2}
    choice = ask(with_tools, CHAT, body)["choices"][0]
    assert choice["finish_reason"] == "length"
    assert "tool_calls" not in choice["message"]


def test_the_result_of_a_call_is_understood(with_tools: Serving) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    made = {"id": "call_1", "type": "function", "function": function}
    messages = [
        *HELLO["messages"],  # type: ignore[misc]
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    assert ask(with_tools, CHAT, {"messages": messages, "tools": [WEATHER], "max_tokens": 2})


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        ({"tool_choice": "required"}, "'tools' does not have"),
        ({"tools": [], "tool_choice": "required"}, "'tools' does not have"),
        ({"tools": [WEATHER], "tool_choice": NAMED}, "'tools' does not have"),
        ({"tools": [WEATHER], "tool_choice": "sometimes"}, "auto, none, required"),
        ({"tools": [WEATHER], "tool_choice": 7}, "auto, none, required"),
        ({"tools": [WEATHER], "tool_choice": ["required"]}, "auto, none, required"),
        ({"tools": {"a": 1}}, "not a list"),
        ({"tools": [7]}, "has to be a function"),
        ({"tools": [{"type": "web_search"}]}, "has to be a function"),
        ({"tools": [{"type": ["function"], "function": {}}]}, "has to be a function"),
        ({"tools": [{"type": "function", "function": {}}]}, "no name"),
        ({"tools": [WEATHER, WEATHER]}, "same name"),
        ({"functions": [WEATHER["function"]]}, "use 'tools'"),
        (
            {"tools": [WEATHER], "tool_choice": "required", "response_format": {"type": "text"}},
            "exclude each other",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(
    with_tools: Serving, extra: dict[str, Any], word: str
) -> None:
    assert word in refused(with_tools, CHAT, {**HELLO, **extra}, 400)["message"]


def test_schemas_that_would_be_looked_for_elsewhere(with_tools: Serving) -> None:
    elsewhere = tool("f", a={"$ref": "http://127.0.0.1:1/x.json"})
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    for bad, word in ((elsewhere, "elsewhere"), (tool("f", a=deep), "levels deep")):
        body = {**HELLO, "tools": [bad], "tool_choice": "required"}
        assert word in refused(with_tools, CHAT, body, 400)["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_a_call_is_enforced_at_one_place(with_tools: Serving, path: str) -> None:
    parameters = WEATHER["function"]["parameters"]
    bodies: dict[str, dict[str, Any]] = {
        "/v1/responses": {
            "input": "x",
            "tools": [{"type": "function", "name": "f", "parameters": parameters}],
            "tool_choice": "required",
        },
        "/v1/messages": {
            **HELLO,
            "tools": [{"name": "f", "input_schema": parameters}],
            "tool_choice": {"type": "any"},
        },
    }
    body = bodies[path]
    assert CHAT in refused(with_tools, path, body, 400)["message"]
    del body["tool_choice"]
    assert ask(with_tools, path, {**body, "max_output_tokens": 2})


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi " * 3000}]}, 400, "--context"),
        (CHAT, {"messages": [{"role": "user", "content": [IMAGE]}]}, 400, "no image here"),
        ("/rerank", {"query": "x", "documents": ["a"]}, 501, "reranking is not offered"),
        ("/infill", {"input_prefix": "x"}, 501, "not offered"),
        (CHAT, {"messages": 5}, 400, ""),
        (CHAT, [], 400, "JSON object"),
        (CHAT, {**HELLO, "model": 5}, 400, "not a string"),
        (CHAT, {**HELLO, "x": "\ud800"}, 400, ""),
        ("/nowhere", {}, 404, "nothing is served"),
        ("/lora-adapters", [], 404, "nothing is served"),
        ("/slots/0?action=save", {}, 404, "nothing is served"),
    ],
)
def test_refusals_speak_of_our_options_alone(
    server: Serving, path: str, body: Any, status: int, words: str
) -> None:
    message = refused(server, path, body, status)["message"]
    assert words in message
    for foreign in ("mmproj", "LLAMA_ARG", "Start it with", "`--", "--reranking"):
        assert foreign not in message


@pytest.mark.parametrize(
    "data", [b"{", b"[" * 100_000, b'{"a": 1, "a": 2}', b'{"a": NaN}', b"\xff"]
)
def test_bodies_that_are_no_json(server: Serving, data: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", CHAT, data)
    response = connection.getresponse()
    assert (response.status, "error" in json.loads(response.read())) == (400, True)
    connection.close()


@pytest.mark.parametrize("depth", range(100, 1100, 100))
def test_bodies_of_any_depth(server: Serving, depth: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    connection.request("POST", CHAT, b'{"messages": [], "max_tokens": 1, "x": ' + nested + b"}")
    response = connection.getresponse()
    error = json.loads(response.read()).get("error")
    assert (response.status == 200) == (error is None)
    assert error is None or (response.status, error["type"]) == (400, "invalid_request_error")
    connection.close()


def test_a_body_that_is_too_large(server: Serving) -> None:
    body = {**HELLO, "padding": "x" * (8 << 20)}
    assert refused(server, CHAT, body, 413)["type"] == "invalid_request_error"


def test_several_clients_are_kept_apart(with_tools: Serving) -> None:
    found: list[str] = []

    def one(choice: Any) -> None:
        body = {**HELLO, "tools": [WEATHER, SUM], "tool_choice": choice}
        [made] = ask(with_tools, CHAT, body)["choices"][0]["message"]["tool_calls"]
        found.append(made["function"]["name"])

    threads = [threading.Thread(target=one, args=(NAMED,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["add_up"] * 3
