"""The API of a real model on a port, as `outlast run --api` serves it, in a thread of the test."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.engines.llama import LlamaOptions, serve
from outlast.engines.served import ServedModel, Service
from outlast.server.model import server as model_server
from outlast.server.model.front import Serves
from outlast.server.model.origin import Origin
from outlast.server.model.requests import Loaded
from tests.engines.conftest import OPTIONS

MODEL = "org/name"
MANIFEST = "ab" * 32
REFS = ("main", "0123abcd")
START = f"outlast run {MODEL} --api …"


@dataclass(frozen=True, slots=True)
class Serving:
    """Where it listens, and the engine behind it."""

    port: int
    url: str
    engine: ServedModel


@contextlib.contextmanager
def serving(
    model: str, *, key: str | None = None, embeddings: bool | None = None, port: int = 0
) -> Iterator[Serving]:
    """Serves while the block runs."""
    with serving_with(model, OPTIONS, key=key, embeddings=embeddings, port=port) as running:
        yield running


@contextlib.contextmanager
def serving_with(
    model: str,
    options: LlamaOptions,
    *,
    key: str | None = None,
    embeddings: bool | None = None,
    port: int = 0,
    adapters: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Serving]:
    """Serves while the block runs; `adapters` are the names and manifests of those in `options`, in
    their order. Raises at its end what ended the engine before."""
    service = Service(MODEL, embeddings)
    with (
        serve([model], service, options, Cancel()) as engine,
        serving_engine(engine, key=key, port=port, adapters=adapters) as running,
    ):
        yield running


@contextlib.contextmanager
def serving_engine(
    engine: ServedModel,
    *,
    key: str | None = None,
    port: int = 0,
    adapters: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Serving]:
    """Serves an engine while the block runs, as :func:`serving_with` does."""
    cancel, up = Cancel(), threading.Event()
    problems: list[EngineError] = []
    with model_server.bind("127.0.0.1", port) as sock:
        port, url = sock.getsockname()[1], model_server.url_of(sock)
        loaded = Loaded.under(MODEL, REFS, tools=engine.tools, embeddings=engine.embeddings)
        for name, manifest in adapters.items():
            loaded = loaded.with_adapter(name, (), manifest)
        origin = Origin(MANIFEST, engine.build)
        api = model_server.Api(Serves(loaded, key, origin, START, engine.count_request))

        def run() -> None:
            try:
                model_server.serve(engine, sock, api, up.set, cancel)
            except EngineError as error:
                problems.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert up.wait(60)
            yield Serving(port, url, engine)
        finally:
            if engine.alive:
                cancel.set()
            thread.join()
    if problems:
        raise problems[0]


def call(
    server: Serving, path: str, body: Any = None, method: str = "", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        data = None if body is None else json.dumps(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if data is None else "POST"), path, data, names)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def ask(server: Serving, path: str, body: Any = None, **headers: str) -> Any:
    status, data, _ = call(server, path, body, **headers)
    assert status == 200, data
    return json.loads(data)


def refused(server: Serving, path: str, body: Any, status: int) -> dict[str, Any]:
    """The error of a request that has to fail with `status`."""
    found, data, _ = call(server, path, body)
    assert found == status, data
    error: dict[str, Any] = json.loads(data)["error"]
    return error
