"""Where torch is for tests: in this Python, or in the environment of the clients; and the tiny
models that are made with it.
"""

import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.clients.envs import cache_folder, make_once
from tests.clients.run import python_of

ROOT = Path(__file__).parents[2]


def find_python(*packages: str) -> Path | None:
    """A Python that has these packages, where this one has not: that of the clients' environment.
    Skips (in CI: fails) where that environment cannot be made.
    """
    if all(importlib.util.find_spec(name) for name in packages):
        return None
    return python_of("transformers")


def packages_of(python: Path) -> Path:
    """The folder of its packages."""
    [found] = python.parents[1].glob("lib/python3*/site-packages")
    return found


def make_tiny_models(python: Path | None) -> Path:
    """Folders of tiny random models: `True` has a chat template, `False` has none. They are made
    in a process of their own, so that torch is not loaded into this one, and kept for later runs.
    """
    maker = Path(__file__).with_name("tiny_llama.py")
    by = python or [importlib.metadata.version(name) for name in ("torch", "transformers")]
    key = hashlib.sha256(f"{maker.read_text()} {by}".encode()).hexdigest()

    def make(folder: Path) -> None:
        done = subprocess.run(
            [python or sys.executable, "-m", "tests.engines.tiny_llama", folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return make_once(cache_folder() / f"tiny-llama-{key[:16]}", make)
