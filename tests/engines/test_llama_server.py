"""The OpenAI-compatible API, over HTTP, with a real model."""

import http.client
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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled, EngineError, UsageError
from outlast.engines.llama import LlamaServer, Service, serve
from tests.engines.conftest import OPTIONS
from tests.engines.test_llama_chat import SOURCE

HERE = Service("127.0.0.1", 0, "org/name")
HELLO = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "seed": 1}


@pytest.fixture(scope="module")
def server(model: str) -> Iterator[LlamaServer]:
    with serve([model], HERE, OPTIONS, Cancel()) as running:
        yield running


def call(
    server: LlamaServer, path: str, body: Any = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        data = None if body is None else json.dumps(body)
        connection.request("GET" if data is None else "POST", path, data, headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def ask(server: LlamaServer, path: str, body: Any = None, **headers: str) -> Any:
    status, data, _ = call(server, path, body, **headers)
    assert status == 200, data
    return json.loads(data)


def test_where_it_listens(server: LlamaServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.port > 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


def test_models(server: LlamaServer) -> None:
    listing = ask(server, "/v1/models")
    assert [entry["id"] for entry in listing["data"]] == ["org/name"]
    # Nothing that clients see tells where the archive lies.
    assert "/" not in ask(server, "/props")["model_path"]


def test_chat(server: LlamaServer) -> None:
    answer = ask(server, "/v1/chat/completions", HELLO)
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["model"] == "org/name"


def test_chat_streamed(server: LlamaServer) -> None:
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


def test_logprobs(server: LlamaServer) -> None:
    body = {**HELLO, "logprobs": True, "top_logprobs": 3}
    content = ask(server, "/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
    assert content
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 3 for token in content)


def test_completions(server: LlamaServer) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 8}
    assert ask(server, "/v1/completions", body)["choices"][0]["text"].strip()


def test_several_at_once(server: LlamaServer) -> None:
    answers: list[Any] = []

    def one() -> None:
        answers.append(ask(server, "/v1/chat/completions", HELLO))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4


def test_embeddings_where_they_are_asked_for(server: LlamaServer, model: str) -> None:
    body = {"input": ["the sea", "the sky"]}
    assert call(server, "/v1/embeddings", body)[0] == 501
    with serve([model], replace(HERE, embeddings=True), OPTIONS, Cancel()) as other:
        vectors = [entry["embedding"] for entry in ask(other, "/v1/embeddings", body)["data"]]
        assert [len(vector) for vector in vectors] == [576, 576]
        assert ask(other, "/v1/chat/completions", HELLO)["usage"]["completion_tokens"] > 0


def test_an_api_key_is_asked_for(model: str) -> None:
    with serve([model], replace(HERE, api_key="s3cret"), OPTIONS, Cancel()) as locked:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert call(locked, "/v1/chat/completions", HELLO, **headers)[0] == 401
        assert ask(locked, "/v1/chat/completions", HELLO, Authorization="Bearer s3cret")
        command = Path(f"/proc/{locked._worker._process.pid}/cmdline")
        if command.exists():
            assert b"s3cret" not in command.read_bytes()


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/slots", "/metrics", "/tools", "/cors-proxy", "/models/load"]
)
def test_what_is_not_the_api_is_off(server: LlamaServer, path: str) -> None:
    assert call(server, path)[0] >= 400
    if path != "/":
        assert call(server, path, {"url": "http://127.0.0.1:1/", "model": "x"})[0] >= 400


def test_web_pages_from_elsewhere_are_not_let_in(server: LlamaServer) -> None:
    _, _, headers = call(server, "/v1/models", Origin="http://evil.example")
    assert headers["Access-Control-Allow-Origin"] is None


def test_it_fetches_nothing(server: LlamaServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.settimeout(0.5)
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/x.png"
        image = {"type": "image_url", "image_url": {"url": url}}
        body = {"messages": [{"role": "user", "content": [image]}], "max_tokens": 1}
        assert call(server, "/v1/chat/completions", body)[0] >= 400
        with pytest.raises(TimeoutError):
            bait.accept()


def test_bad_requests_do_not_end_it(server: LlamaServer) -> None:
    bodies: list[Any] = [{}, [], {"messages": 5}, {**HELLO, "max_tokens": -7, "top_k": "x"}]
    for body in bodies:
        assert call(server, "/v1/chat/completions", body)[0] >= 400
    assert ask(server, "/v1/chat/completions", HELLO)


def test_the_port_is_taken(server: LlamaServer, model: str) -> None:
    taken = replace(HERE, port=server.port)
    with pytest.raises(EngineError, match=r"cannot listen.*in use") as caught:
        serve([model], taken, OPTIONS, Cancel())
    assert "--api" in caught.value.hint


def test_the_port_is_taken_while_loading(
    server: LlamaServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.engines.llama._check_free", lambda _host, _port: None)
    with pytest.raises(EngineError, match="cannot listen"):
        serve([model], replace(HERE, port=server.port), OPTIONS, Cancel())


def test_a_port_is_free_again_at_once(model: str) -> None:
    with serve([model], HERE, OPTIONS, Cancel()) as first:
        port = first.port
        ask(first, "/v1/chat/completions", HELLO)
    with serve([model], replace(HERE, port=port), OPTIONS, Cancel()) as second:
        assert second.port == port


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7"])
def test_a_host_that_is_not_ours(model: str, host: str) -> None:
    with pytest.raises(EngineError, match="cannot listen"):
        serve([model], replace(HERE, host=host), OPTIONS, Cancel())


@pytest.mark.parametrize("wrong", [{"host": ""}, {"host": "x.sock"}, {"port": 70_000}])
def test_places_that_are_none(model: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        serve([model], replace(HERE, **wrong), OPTIONS, Cancel())


def test_waiting_ends_with_cancel_or_with_the_server(model: str) -> None:
    cancel = Cancel()
    with serve([model], HERE, OPTIONS, cancel) as running:
        threading.Timer(0.3, cancel.set).start()
        with pytest.raises(Cancelled):
            running.wait(cancel)
        running._worker._process.kill()
        with pytest.raises(EngineError, match="SIGKILL"):
            running.wait(Cancel())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_server_ends_with_its_parent(model: str, how: signal.Signals, tmp_path: Path) -> None:
    script = f"""
        import sys
        sys.path.insert(0, {os.fspath(SOURCE)!r})
        from outlast.engines.llama import LlamaOptions, Service, serve
        from outlast.core.cancel import Cancel
        service = Service("127.0.0.1", 0, "m")
        with serve([{model!r}], service, LlamaOptions(context=512, threads=1), Cancel()) as server:
            print(server.port, flush=True)
            server.wait(Cancel())
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
