"""Running the drivers inside the clients' environments."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.clients.envs import EnvUnavailableError, ensure

HERE = Path(__file__).parent
_SECONDS = 240
Call = tuple[str, Mapping[str, Any]]


def python_of(client: str) -> Path:
    """A client's Python. Where its packages cannot be had the test is skipped, but fails in CI."""
    try:
        return ensure(client)
    except EnvUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def client_env(endpoint: str, home: Path, token: str | None = None) -> dict[str, str]:
    """A clean environment in which a client knows one endpoint and has a home of its own."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    own = {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "*",
    }
    return kept | own | ({"HF_TOKEN": token} if token else {})


def run_hub(
    client: str,
    endpoint: str,
    home: Path,
    calls: Sequence[Call],
    *,
    token: str | None = None,
    env: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Make the calls in one process of a huggingface_hub client.

    Each result is {"value": …} or {"error": class name, "bases": […], "message", "status"}.
    """
    arguments = [json.dumps(call) for call in calls]
    told = run_driver(client, "drive_hub.py", arguments, client_env(endpoint, home, token), env)
    results: list[dict[str, Any]] = told["results"]
    return results


def run_driver(
    client: str,
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    more: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a driver script; it prints one JSON object on the last line of its output."""
    done = subprocess.run(
        [python_of(client), HERE / script, *arguments],
        env=dict(environment) | dict(more or {}),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} in {client}: {done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told | {"stderr": done.stderr}


def run_cli(client: str, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run the client's own `hf` command; what it printed."""
    done = subprocess.run(
        [python_of(client).with_name("hf"), *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"hf in {client}: {done.stderr[-4000:]}")
    return done.stdout
