"""The OpenAI-compatible API, over HTTP, with a real model."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError, UsageError
from outlast.engines.llama import serve
from outlast.engines.served import ServedModel, Service
from outlast.server.model import server as model_server
from outlast.server.model.front import Serves
from outlast.server.model.requests import Loaded
from outlast.server.model.server import bind
from tests.engines.conftest import OPTIONS
from tests.engines.serving import MODEL, START, Serving, ask, call, refused, serving
from tests.engines.test_llama_chat import SOURCE

HELLO = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "seed": 1}


@pytest.fixture(scope="module")
def server(model: str) -> Iterator[Serving]:
    with serving(model) as running:
        yield running


def test_where_it_listens(server: Serving) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.port > 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


def test_models(server: Serving) -> None:
    listing = ask(server, "/v1/models")
    assert [entry["id"] for entry in listing["data"]] == [MODEL]
    assert listing["data"][0]["meta"]["n_ctx"] > 0
    assert ask(server, f"/v1/models/{MODEL}")["id"] == MODEL
    # Nothing that clients see tells where the archive lies.
    assert "/" not in ask(server, "/props")["model_path"]


def test_chat(server: Serving) -> None:
    answer = ask(server, "/v1/chat/completions", HELLO)
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["model"] == "org/name"


def test_chat_streamed(server: Serving) -> None:
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    status, data, headers = call(server, "/v1/chat/completions", body)
    assert (status, headers.get_content_type()) == (200, "text/event-stream")
    lines = [line.removeprefix("data: ") for line in data.decode().splitlines() if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    text = "".join(
        choice["delta"].get("content") or "" for event in events for choice in event["choices"]
    )
    assert text.strip()
    assert events[-1]["usage"]["completion_tokens"] > 0


def test_logprobs(server: Serving) -> None:
    body = {**HELLO, "logprobs": True, "top_logprobs": 3}
    content = ask(server, "/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
    assert content
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 3 for token in content)


def test_completions(server: Serving) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 8}
    assert ask(server, "/v1/completions", body)["choices"][0]["text"].strip()


def test_several_at_once(server: Serving) -> None:
    answers: list[Any] = []

    def one() -> None:
        answers.append(ask(server, "/v1/chat/completions", HELLO))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4


def test_embeddings_where_they_are_asked_for(server: Serving, model: str) -> None:
    body = {"input": ["the sea", "the sky"]}
    error = refused(server, "/v1/embeddings", body, 501)
    assert f"{START} --embeddings" in error["message"]
    assert error["code"] == "embeddings_not_loaded"
    with serving(model, embeddings=True) as other:
        vectors = [entry["embedding"] for entry in ask(other, "/v1/embeddings", body)["data"]]
        assert [len(vector) for vector in vectors] == [576, 576]
        assert ask(other, "/v1/chat/completions", HELLO)["usage"]["completion_tokens"] > 0


def test_an_api_key_is_asked_for(model: str) -> None:
    with serving(model, key="s3cret") as locked:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X_Api_Key": ""}):
            assert call(locked, "/v1/chat/completions", HELLO, **headers)[0] == 401
            assert call(locked, "/v1/models", **headers)[0] == 401
        assert ask(locked, "/v1/chat/completions", HELLO, Authorization="Bearer s3cret")
        assert ask(locked, "/v1/models", X_Api_Key="s3cret")
        assert call(locked, "/health")[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/slots", "/metrics", "/tools", "/cors-proxy", "/models/load"]
)
def test_what_is_not_the_api_is_off(server: Serving, path: str) -> None:
    assert call(server, path)[0] >= 400
    if path != "/":
        assert call(server, path, {"url": "http://127.0.0.1:1/", "model": "x"})[0] >= 400


def test_web_pages_from_elsewhere_are_not_let_in(server: Serving) -> None:
    for origin in ("http://evil.example", "null", "http://localhost.evil.example", "http://["):
        status, _, headers = call(server, "/v1/chat/completions", HELLO, Origin=origin)
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)


def test_pages_of_this_machine_may_ask(server: Serving) -> None:
    origin = "http://localhost:3000"
    for method, body, path in (
        ("OPTIONS", None, "/v1/chat/completions"),
        ("POST", {**HELLO, "model": "other"}, "/v1/chat/completions"),
        ("POST", HELLO, "/v1/chat/completions"),
    ):
        _, _, headers = call(server, path, body, method=method, Origin=origin)
        assert headers["Access-Control-Allow-Origin"] == origin


def test_it_fetches_nothing(server: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.settimeout(0.5)
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/x.png"
        image = {"type": "image_url", "image_url": {"url": url}}
        body = {"messages": [{"role": "user", "content": [image]}], "max_tokens": 1}
        assert call(server, "/v1/chat/completions", body)[0] >= 400
        with pytest.raises(TimeoutError):
            bait.accept()


def test_bad_requests_do_not_end_it(server: Serving) -> None:
    bodies: list[Any] = [{}, [], {"messages": 5}, {**HELLO, "max_tokens": -7, "top_k": "x"}]
    for body in bodies:
        assert call(server, "/v1/chat/completions", body)[0] >= 400
    assert ask(server, "/v1/chat/completions", HELLO)


def test_the_port_is_taken(server: Serving) -> None:
    with pytest.raises(EngineError, match=r"cannot listen.*in use") as caught:
        bind("127.0.0.1", server.port)
    assert "--api" in caught.value.hint


def test_a_port_is_free_again_at_once(model: str) -> None:
    with serving(model) as first:
        port = first.port
        ask(first, "/v1/chat/completions", HELLO)
    with serving(model, port=port) as second:
        assert second.port == port


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7", "x.sock", "a" * 70 + ".x"])
def test_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(EngineError, match="cannot listen"):
        bind(host, 0)


@pytest.mark.parametrize("place", [("", 1), ("127.0.0.1", 70_000), ("127.0.0.1", -1)])
def test_places_that_are_none(place: tuple[str, int]) -> None:
    with pytest.raises(UsageError):
        bind(*place)


def test_serving_ends_with_the_engine(model: str) -> None:
    engine_of: list[ServedModel] = []

    def kill() -> None:
        engine_of[0]._worker._process.kill()

    service = Service(MODEL)
    with bind("127.0.0.1", 0) as sock, serve([model], service, OPTIONS, Cancel()) as engine:
        engine_of.append(engine)
        loaded = Loaded.under(MODEL, (), tools=False, embeddings=False)
        with pytest.raises(EngineError, match="SIGKILL"):
            model_server.serve(engine, sock, model_server.Api(Serves(loaded)), kill, Cancel())


def test_a_folder_for_temporary_files_that_lies_deep(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with serving(model) as running:
        assert ask(running, "/v1/chat/completions", HELLO)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_server_ends_with_its_parent(model: str, how: signal.Signals, tmp_path: Path) -> None:
    script = f"""
        import sys
        sys.path.insert(0, {os.fspath(SOURCE)!r})
        from outlast.engines.llama import LlamaOptions, serve
        from outlast.engines.served import Service
        from outlast.core.cancel import Cancel
        from outlast.server.model.front import Serves
        from outlast.server.model.requests import Loaded
        from outlast.server.model import server as api
        options, cancel = LlamaOptions(context=512, threads=1), Cancel()
        loaded = Loaded.under("m", (), tools=False, embeddings=False)
        with api.bind("127.0.0.1", 0) as sock:
            with serve([{model!r}], Service("m"), options, cancel) as engine:
                port = sock.getsockname()[1]
                say = lambda: print(port, flush=True)
                api.serve(engine, sock, api.Api(Serves(loaded)), say, cancel)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        parent.send_signal(how)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionResetError:
            pass  # it is ending
        except ConnectionRefusedError:
            if not list(tmp_path.iterdir()):
                return
        time.sleep(0.05)
    pytest.fail("the server outlived its parent, or left something behind")
