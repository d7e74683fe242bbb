"""Transformers behind the API: what it answers, with which adapter, and what it refuses."""

import json
import random
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.engines.served import Service
from outlast.engines.transformers import AdapterFile, TransformersOptions, serve_transformers
from outlast.engines.transformers_http import StopWords
from tests.engines.serving import MODEL, Serving, ask, call, refused, serving_engine
from tests.realweights import Tensor, write_safetensors

MODULE = "model.layers.0.self_attn.q_proj"
ADAPTERS = {"org/facts": "ab" * 32, "org/style": "cd" * 32}
ASKED = {"messages": [{"role": "user", "content": "the sea"}], "max_tokens": 6, "temperature": 0}


def write_lora(path: Path, seed: int) -> AdapterFile:
    """A LoRA of PEFT's that changes one layer of the tiny model noticeably."""
    chance = random.Random(seed)
    half = [array("f", [chance.gauss(0, 1) for _ in range(4 * 64)]).tobytes() for _ in "AB"]
    name = f"base_model.model.{MODULE}.lora_"
    write_safetensors(
        path,
        {
            f"{name}A.weight": Tensor("F32", (4, 64), half[0]),
            f"{name}B.weight": Tensor("F32", (64, 4), half[1]),
        },
    )
    config = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 64, "target_modules": [MODULE]}
    return AdapterFile(str(path), config)


@pytest.fixture(name="server", scope="module")
def _server(
    tiny: Callable[[bool], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("loras")
    loras = tuple(write_lora(folder / f"{seed}.safetensors", seed) for seed in range(2))
    options = TransformersOptions(device="cpu", threads=1, adapters=loras)
    with (
        serve_transformers(tiny(True), Service(MODEL), options, Cancel()) as engine,
        serving_engine(engine, adapters=ADAPTERS) as found,
    ):
        yield found


def says(server: Serving, model: str) -> str:
    found = ask(server, "/v1/chat/completions", {**ASKED, "model": model})
    assert found["model"] == model
    assert found["usage"]["completion_tokens"] <= 6
    return str(found["choices"][0]["message"]["content"])


def test_the_whole_of_it(server: Serving) -> None:
    """One start of torch for all that is asked of it."""
    names = [MODEL, *(f"{MODEL}+{name}" for name in ADAPTERS)]
    alone = [says(server, name) for name in names]
    assert len(set(alone)) == 3
    assert [says(server, name) for name in names[::-1]] == alone[::-1]
    listed = ask(server, "/v1/models")["data"]
    assert [one["id"] for one in listed] == names
    assert refused(server, "/v1/chat/completions", {**ASKED, "model": "x"}, 404)["code"] == (
        "model_not_found"
    )
    streams(server, names[1], alone[1])
    goes_on(server, alone[0])
    refuses(server)


def streams(server: Serving, name: str, text: str) -> None:
    body = {**ASKED, "model": name, "stream": True, "stream_options": {"include_usage": True}}
    _, data, headers = call(server, "/v1/chat/completions", body)
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n\n") if line]
    assert lines.pop() == b"[DONE]"
    events = [json.loads(line) for line in lines]
    assert events[0]["outlast"]["adapter"] == headers["X-Outlast-Adapter"]
    assert events[-1]["usage"]["completion_tokens"] > 0
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == text
    assert events[-2]["choices"][0]["finish_reason"] in {"stop", "length"}


def goes_on(server: Serving, text: str) -> None:
    """From the start of an answer, as a broken stream is continued; and ends before a word."""
    begun = {"role": "assistant", "content": text}
    body = {**ASKED, "messages": [*ASKED["messages"], begun], "max_tokens": 4}  # type: ignore[misc]
    longer = ask(server, "/v1/chat/completions", {**ASKED, "max_tokens": 10})
    found = ask(server, "/v1/chat/completions", body)
    assert longer["usage"]["prompt_tokens"] < found["usage"]["prompt_tokens"]
    said = [one["choices"][0]["message"]["content"] for one in (longer, found)]
    assert said[0] == text + said[1]
    word = text[3:5]
    found = ask(server, "/v1/chat/completions", {**ASKED, "stop": [word]})["choices"][0]
    assert found["message"]["content"] == text.partition(word)[0]
    assert found["finish_reason"] == "stop"
    found = ask(server, "/v1/completions", {"prompt": "the sea", "max_tokens": 2})
    assert found["object"] == "text_completion"


def refuses(server: Serving) -> None:
    path = "/v1/chat/completions"
    for more, status in (
        ({"logprobs": True}, 400),
        ({"response_format": {"type": "json_object"}}, 400),
        ({"n": 2}, 400),
        ({"temperature": "hot"}, 400),
        ({"max_tokens": -1}, 400),
        ({"messages": []}, 400),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400),
        ({"messages": [{"role": "user", "content": "sea " * 500}]}, 400),
    ):
        assert refused(server, path, {**ASKED, **more}, status)["message"]
    long = {**ASKED, "messages": [{"role": "user", "content": "sea " * 500}]}
    assert refused(server, path, long, 400)["code"] == "context_length_exceeded"
    assert refused(server, "/v1/responses", {"input": "sea"}, 501)["message"]
    assert refused(server, "/v1/embeddings", {"input": "sea"}, 501)["message"]


@pytest.mark.parametrize(
    ("pieces", "given"),
    [
        (["ab", "c"], "abc"),
        (["a", "b", "END", "c"], "ab"),
        (["abE", "N", "Dc"], "ab"),
        (["abE", "Nx"], "abENx"),
        (["EEN", "D"], "E"),
        (["ab##"], "ab"),
        (["abEN"], "abEN"),
    ],
)
def test_words_that_end_an_answer(pieces: list[str], given: str) -> None:
    found: list[str] = []
    words = StopWords(("END", "##"), found.append)
    for piece in pieces:
        words.take(piece)
    words.end()
    assert "".join(found) == given
    assert all(found)
