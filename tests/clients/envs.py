"""Environments of real clients: one per requirements file, made once and kept in a cache folder.

`python -m tests.clients.envs [CLIENT…]` makes those named, or all, and prints where they are.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements")
HUB_CLIENTS = ("hub0", "hub1", "hub2")
CLIENTS = (*HUB_CLIENTS, "llm", "transformers", "model-signing")
"""Those that `make test` drives. What campaigns drive beside them is made by the first test."""
# Installed alone and before the rest: else pip might take a build ten times as big.
_FIRST = ("torch",)
_READY = "ready"


class EnvUnavailableError(Exception):
    """An environment could not be made; the message ends with the installer's own words."""


def cache_folder() -> Path:
    """Where environments are kept: OUTLAST_TEST_CACHE, or a folder of the user's cache."""
    given = os.environ.get("OUTLAST_TEST_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "outlast-tests"


def env_folder(client: str) -> Path:
    """Where a client's environment is or would be: named by its pins and by this Python."""
    pins = (REQUIREMENTS / f"{client}.txt").read_bytes()
    key = hashlib.sha256(pins + f"{platform.python_version()} {sys.base_prefix}".encode())
    return cache_folder() / f"{client}-{key.hexdigest()[:16]}"


def ensure(client: str) -> Path:
    """The Python of a client's environment, which is made first if need be."""
    folder = make_once(env_folder(client), lambda folder: _make(client, folder))
    return _python(folder)


def make_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that `make` has filled, now or in an earlier run.

    Safe with several processes at once; what a killed one left half made is made anew.
    """
    with _lock(folder):
        if not (folder / _READY).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / _READY).touch()
    return folder


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _make(client: str, folder: Path) -> None:
    requirements = REQUIREMENTS / f"{client}.txt"
    python = _python(folder)
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-input"]
    _run([sys.executable, "-m", "venv", str(folder)])
    for line in requirements.read_text().splitlines():
        if line.split("==")[0] in _FIRST:
            _run([*install, line])
    _run([*install, "--no-deps", "--requirement", str(requirements)])
    _run([str(python), "-m", "pip", "check"])


def _run(command: list[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
        raise EnvUnavailableError(f"{' '.join(command)} failed:\n{said}")


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold a lock on one environment, across processes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Make the environments named on the command line."""
    for client in sys.argv[1:] or CLIENTS:
        print(f"{client}: {ensure(client)}", flush=True)


if __name__ == "__main__":
    main()
