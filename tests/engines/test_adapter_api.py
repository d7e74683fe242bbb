"""Adapters in the API: several over one base in memory, one for each request."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.engines.base import ChatMessage, Delta, Sampling
from outlast.engines.llama import open_llama
from outlast.server.model.requests import Loaded, understand
from outlast.server.model.words import RequestError
from tests.engines.conftest import OPTIONS
from tests.engines.gguf_files import write_lora
from tests.engines.serving import MODEL, Serving, ask, call, refused, serving_with

FACTS, STYLE = "ab" * 32, "cd" * 32
CHANGED = ("blk.0.attn_v.weight", (576, 192))
QUESTION = [{"role": "user", "content": "the sea is"}]
BOTH = {"org/facts": FACTS, "org/style": STYLE}


@pytest.fixture(name="loras", scope="module")
def _loras(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("loras")
    return tuple(str(write_lora(folder / f"{seed}.gguf", *CHANGED, seed=seed)) for seed in range(2))


@pytest.fixture(name="server", scope="module")
def _server(model: str, loras: tuple[str, ...]) -> Iterator[Serving]:
    options = replace(OPTIONS, adapters=loras)
    with serving_with(model, options, adapters=BOTH) as found:
        yield found


def says(server: Serving, model: str | None, **more: object) -> str:
    asked = {"messages": QUESTION, "max_tokens": 8, "temperature": 0, **more}
    named = asked if model is None else {**asked, "model": model}
    found = ask(server, "/v1/chat/completions", named)
    return str(found["choices"][0]["message"]["content"])


def test_each_request_has_its_own(server: Serving) -> None:
    names = [MODEL, f"{MODEL}+org/facts", f"{MODEL}+org/style"]
    alone = [says(server, name) for name in names]
    assert len(set(alone)) == 3
    # In any order, with prompts that are alike: nothing of one is in another.
    assert [says(server, name) for name in [*names[::-1], *names]] == [*alone[::-1], *alone]
    # At once, too. What is computed together with others is rounded otherwise: an adapter is told
    # by its first words.
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda name: says(server, name, max_tokens=4), names * 2))
    assert found == [says(server, name, max_tokens=4) for name in names] * 2
    assert says(server, None) == alone[0]
    # What a client says to the engine itself does not count.
    assert says(server, MODEL, lora=[{"id": 0, "scale": 1.0}]) == alone[0]


def test_the_answer_says_which(server: Serving) -> None:
    body = {"model": f"{MODEL}+org/facts", "messages": QUESTION, "max_tokens": 2}
    _, data, headers = call(server, "/v1/chat/completions", body)
    assert headers["X-Outlast-Adapter"] == f"sha256:{FACTS}"
    assert json.loads(data)["outlast"]["adapter"] == f"sha256:{FACTS}"
    _, data, headers = call(server, "/v1/chat/completions", {**body, "model": MODEL})
    assert headers["X-Outlast-Adapter"] is None
    assert "adapter" not in json.loads(data)["outlast"]


def test_the_list_has_them(server: Serving) -> None:
    listed = ask(server, "/v1/models")["data"]
    assert [one["id"] for one in listed] == [MODEL, f"{MODEL}+org/facts", f"{MODEL}+org/style"]
    assert listed[1]["parent"] == MODEL
    assert "org/facts" in listed[1]["aliases"]
    one = ask(server, "/v1/models/org%2Fname%2Borg%2Fstyle")
    assert one["id"] == f"{MODEL}+org/style"
    assert one["outlast"]["adapter"] == f"sha256:{STYLE}"


@pytest.mark.parametrize("name", [f"{MODEL}+org/other", "org/other", f"other+{MODEL}", "facts"])
def test_one_that_is_not_loaded(server: Serving, name: str) -> None:
    body = {"model": name, "messages": QUESTION}
    error = refused(server, "/v1/chat/completions", body, 404)
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert f"{MODEL}+org/facts" in error["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions"])
def test_every_way_to_ask(server: Serving, path: str) -> None:
    def answer(model: str) -> str:
        key = {"/v1/responses": "input", "/v1/completions": "prompt"}
        asked = QUESTION if path != "/v1/completions" else "the sea is"
        sizes = {"max_tokens": 8, "max_output_tokens": 8}
        found = ask(
            server, path, {"model": model, key[path]: asked, "temperature": 0, "seed": 1, **sizes}
        )
        assert found["outlast"].get("adapter") == (None if model == MODEL else f"sha256:{FACTS}")
        return json.dumps(
            [item["content"] for item in found.get("output", ())] or found["choices"][0]["text"]
        )

    with_adapter = answer(f"{MODEL}+org/facts")
    assert with_adapter != answer(MODEL)
    assert with_adapter == answer("org/facts")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/rerank"])
def test_where_the_engine_would_pass_it_over(server: Serving, path: str) -> None:
    body = {"model": "org/facts", "messages": QUESTION, "max_tokens": 2}
    assert refused(server, path, body, 400)["code"] == "adapter_not_supported"


def test_a_chat_has_the_first(model: str, loras: tuple[str, ...], server: Serving) -> None:
    options = replace(OPTIONS, adapters=loras[:1])
    with open_llama([model], options, Cancel()) as engine:
        wishes = Sampling(max_tokens=8, temperature=0)
        found = engine.chat([ChatMessage("user", "the sea is")], wishes, Cancel())
        text = "".join(part.text for part in found if isinstance(part, Delta))
    assert text == says(server, f"{MODEL}+org/facts")


def test_what_is_no_adapter_of_it(model: str, tmp_path: Path) -> None:
    wide = write_lora(tmp_path / "wide.gguf", CHANGED[0], (64, 64), seed=1)
    for path, why in ((model, "no LoRA in GGUF"), (str(wide), "cannot load the adapter")):
        with pytest.raises(EngineError, match=why):
            open_llama([model], replace(OPTIONS, adapters=(path,)), Cancel())


def test_names_of_adapters() -> None:
    loaded = Loaded.under("org/name", ("main",), tools=False, embeddings=False)
    both = loaded.with_adapter("org/a", ("v1",), FACTS).with_adapter("me/b", (), STYLE, usual=True)

    def index(model: str) -> int | None:
        found = understand("chat", {"model": model, "messages": []}, both, start="").body["lora"]
        assert [one["id"] for one in found] == [0, 1]
        return next((one["id"] for one in found if one["scale"]), None)

    assert [index(m) for m in ("org/name", "name@main", "org/a", "name+a@v1", "")] == [
        *(None, None, 0, 0, 1)
    ]
    assert index("org/name@main+me/b") == 1
    for unknown in ("b", "org/name+", "+org/a", "org/name+org/a+me/b"):
        with pytest.raises(RequestError, match="is not loaded"):
            index(unknown)
    assert "lora" not in understand("chat", {"messages": []}, loaded, start="").body
