"""The peers that are Python programs, each in an environment of its own, made once."""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from bench.process import Command
from tests.clients import envs

_REQUIREMENTS = Path(__file__).parent.parent / "requirements"
_HUB_CLIENT = "hub2"


class PeerUnavailableError(Exception):
    """A peer's environment could not be made."""


@cache
def hub_client() -> Path:
    """The folder of programs of huggingface_hub 2.4, the client of the tests."""
    return _ensure(_HUB_CLIENT)


@cache
def olah() -> Path:
    """The folder of programs of Olah."""
    return _ensure_own("bench-olah")


@cache
def ossllms() -> Path:
    """The folder of programs of ossllms."""
    return _ensure_own("bench-ossllms")


@cache
def modelferry() -> Path:
    """The folder of programs of modelferry."""
    return _ensure_own("bench-modelferry")


@cache
def litellm() -> Path:
    """The folder of programs of LiteLLM's proxy."""
    return _ensure_own("bench-litellm")


@cache
def codecs() -> Path:
    """The folder of programs of the environment of the codecs' peers, torch among them."""
    return _ensure_own("bench-codec")


@cache
def profiler() -> Path:
    """The folder of programs of the profiler."""
    return _ensure_own("bench-profile")


def _ensure_own(name: str) -> Path:
    kept = envs.REQUIREMENTS
    envs.REQUIREMENTS = _REQUIREMENTS
    try:
        return _ensure(name)
    finally:
        envs.REQUIREMENTS = kept


def _ensure(name: str) -> Path:
    try:
        return envs.ensure(name).parent
    except (envs.EnvUnavailableError, OSError) as error:
        first = str(error).splitlines()[0]
        raise PeerUnavailableError(f"{name} could not be installed: {first}") from error


def olah_command(program: Path, port: int, upstream: str, root: Path) -> Command:
    """Starts Olah in front of `upstream`, keeping what it caches below `root`."""
    theirs, ours = urlsplit(upstream).netloc, f"127.0.0.1:{port}"
    return [
        *(program, "--host", "127.0.0.1", "--port", str(port)),
        *("--hf-scheme", "http", "--hf-netloc", theirs, "--hf-lfs-netloc", theirs),
        *("--mirror-scheme", "http", "--mirror-netloc", ours, "--mirror-lfs-netloc", ours),
        *("--repos-path", root / "repos", "--log-path", root / "logs"),
    ]
