"""Ours and the peers, each in front of the same providers."""

import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import peers
from bench.gateway.load import Door
from bench.hub import free_port
from bench.process import BenchError, Server, clean_environment

CHATS: Final = "/v1/chat/completions"
CONTEXT: Final = 512
"""Tokens of the engine of an archived model."""
_START: Final = 600.0
"""Seconds. Guess: LiteLLM imports for half a minute, on a busy machine for some."""


@dataclass(frozen=True, slots=True)
class Route:
    """A model's name, the base URLs of the providers that are asked in turn, and the archived model
    that is asked last; "": none.
    """

    model: str
    urls: Sequence[str]
    archived: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that answers on a port."""

    server: Server
    port: int
    key: str = "none"

    def door(self, model: str) -> Door:
        """Where its `model` is asked for."""
        return Door(self.port, CHATS, model, self.key)

    def resident(self) -> int:
        """Bytes of memory of all its processes now."""
        return self.server.resident()


@contextlib.contextmanager
def outlast(
    folder: Path,
    routes: Sequence[Route],
    *,
    first_token: float = 30.0,
    workers: int = 1,
    home: Path | None = None,
) -> Iterator[Running]:
    """`outlast gateway` with these routes; `first_token` is its patience in seconds, `home` its
    archive (None: an empty one).
    """
    folder.mkdir(parents=True)
    lines = ["[gateway]", f"first-token = {first_token}"]
    for route in routes:
        names = []
        for number, url in enumerate(route.urls):
            name = f"{route.model}-{number}"
            names.append(f"{name}:bench-1")
            lines += [f'[endpoints."{name}"]', f'url = "{url}"', "hosted = true"]
        if route.archived:
            names.append(f"archive:{route.archived}")
            lines += [f'[archive."{route.archived}"]', f"context = {CONTEXT}", "threads = 1"]
        lines += [f'[routes."{route.model}"]', f"targets = {json.dumps(names)}"]
    path = folder / "gateway.toml"
    path.write_text("\n".join(lines) + "\n")
    port = free_port()
    command: list[str | Path] = [sys.executable, "-m", "outlast", "gateway", "--routes", path]
    command += ["--listen", f"127.0.0.1:{port}", "--home", home or folder / "home"]
    if workers > 1:
        command += ["--processes", str(workers)]
    with _running(command, folder, port, "/healthz") as server:
        yield Running(server, port)


@contextlib.contextmanager
def litellm(
    folder: Path, routes: Sequence[Route], *, first_token: float = 30.0
) -> Iterator[Running]:
    """LiteLLM's proxy; where a route has a second provider, it is the fallback of the first."""
    folder.mkdir(parents=True)
    models, fallbacks = [], []
    for route in routes:
        for number, url in enumerate(route.urls):
            name = route.model if not number else f"{route.model}-{number}"
            parameters = {
                "model": "openai/bench-1",
                "api_base": url,
                "api_key": "none",
                "timeout": first_token,
                "stream_timeout": first_token,
                "max_retries": 0,
            }
            models.append({"model_name": name, "litellm_params": parameters})
            if number:
                fallbacks.append({route.model: [name]})
    config = {
        "model_list": models,
        "router_settings": {"fallbacks": fallbacks, "num_retries": 0},
        "litellm_settings": {"telemetry": False},
    }
    path = folder / "config.yaml"  # JSON is YAML
    path.write_text(json.dumps(config))
    port = free_port()
    command: list[str | Path] = [peers.litellm() / "litellm", "--config", path]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    more = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        # It refuses to start without a key of its own; ours has none here, either.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "True",
    }
    with _running(command, folder, port, "/health/liveliness", more) as server:
        yield Running(server, port)


@contextlib.contextmanager
def _running(
    command: Sequence[str | Path],
    folder: Path,
    port: int,
    health: str,
    more: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    root = Path(__file__).parent.parent.parent
    environment = clean_environment(folder, PYTHONPATH=str(root / "src"), **(more or {}))
    server = Server(command, environment, folder / "gateway.log")
    try:
        _wait(server, f"http://127.0.0.1:{port}{health}")
        yield server
    finally:
        server.stop()


def _wait(server: Server, url: str) -> None:
    """Waits until `url` is answered with success."""
    end = time.monotonic() + _START
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        server.check()
        with contextlib.suppress(OSError):
            opener.open(url, timeout=5).close()
            return
        time.sleep(0.1)
    raise BenchError(f"{url} did not answer within {_START:.0f} s: see {server.log}")
