"""An app calls the gateway, before a provider that throttles, bans and breaks off, and the archive.

The provider is a stand-in on this machine (`tests.providersim`); the weights that take its place
are real.
"""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from demo.commands import PROGRAM, environment, outlast
from demo.story import require, say
from tests.providersim import Fault, ProviderSim

_ROUTE: Final = "assistant"
_HOSTED: Final = "cloud:big-1"
_PATIENCE: Final = 300
_ROUTES: Final = """\
[gateway]
first-token = 120
stall = 120

[endpoints.cloud]
url = "{url}"
hosted = true
key-env = "CLOUD_KEY"

[archive."{model}"]
warm = true
threads = 2

[routes.assistant]
targets = ["{hosted}", "archive:{model}"]

[prices."cloud/big-1"]
input = 2.5
output = 10
"""
_SAYS: Final = (
    ("the provider answers", None),
    ("the provider cuts a stream after three tokens", Fault("close", after=3, count=1)),
    ("the provider throttles: 429", Fault("status", status=429, count=1)),
    ("the provider bans: 403 and a page of HTML", Fault("ban")),
)


def kept_up(home: Path, model: str) -> list[tuple[str, str]]:
    """The scene, with the archive in `home` that has `model`; its line of the demo's table."""
    with ProviderSim(tokens=12, models=("big-1",), keys=frozenset({"demo-key"})) as cloud:
        text = _ROUTES.format(url=cloud.url, model=model, hosted=_HOSTED)
        (home / "gateway.toml").write_text(text)
        for line in text.splitlines():
            say(f"    | {line}")
        rows = []
        with _gateway(home) as url:
            for what, fault in _SAYS:
                say(f"    {what}; the app asks:")
                cloud.faults.extend([fault] if fault is not None else [])
                rows.append((what, *_asked(url)))
            used = outlast(environment(home), "gateway", "usage")
    say()
    for what, _, note in rows:
        passed = "; ".join(f"{one['target']}: {one['reason']}" for one in note.get("passed", []))
        say(f"    {what:<46} {note['target']:<14} {passed or '-'}")
    say()
    for line in used.splitlines():
        say(f"    {line}")
    require(rows[0][2]["target"] == _HOSTED, "while it answers, the provider is asked")
    others = [note["target"] for _, _, note in rows[1:]]
    require(set(others) == {f"archive:{model}"}, "then the weights in the archive answer")
    continued = [note for _, _, note in rows if "continued" in note]
    require(len(continued) == 1, "the stream that was cut went on, and says from where")
    return [("requests that the app saw fail", "0")]


def _asked(url: str) -> tuple[str, dict[str, Any]]:
    """A streamed answer as the app reads it: the text, and what it says of itself."""
    body = {
        "model": _ROUTE,
        "stream": True,
        "max_tokens": 24,
        "messages": [{"role": "user", "content": "Name a sea."}],
    }
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_PATIENCE) as answer:
        events = list(_events(answer))
    require(not any("error" in event for event in events), "the app sees no error")
    text = "".join(
        choice["delta"].get("content") or "" for event in events for choice in event["choices"]
    )
    say(f"    > {' '.join(text.split())}")
    note: dict[str, Any] = events[-1]["outlast"]
    return text, note


def _events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        data = line.removeprefix(b"data: ").strip()
        if line.startswith(b"data: ") and data != b"[DONE]":
            yield json.loads(data)


@contextmanager
def _gateway(home: Path) -> Iterator[str]:
    """`outlast gateway`; its base URL for OpenAI's clients."""
    arguments = ("gateway", "--listen", "127.0.0.1:0")
    say(f"    $ outlast {' '.join(arguments)}")
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        env=environment(home, CLOUD_KEY="demo-key"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield (process.stdout.readline() if process.stdout else "").strip()
        finally:
            process.send_signal(signal.SIGTERM)
