"""What is followed is here before it is gone: a hub withdraws one model between two looks, and
another in the middle of its pull. The archive has both, says when and why, and serves them.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from demo.story import StepFailedError, megabytes, require, say, wait_until
from outlast.store.layout import Layout
from outlast.store.partials import present_bytes
from tests.hubsim import HubRepo, HubSim

_WITHDRAWN = 3
"""The exit status of ``outlast watch`` where something was."""
_RATE = 12_000_000
_SMALL, _LARGE = "acme/first", "acme/second"
_TEXT = b"It was here.\n"


class Node(Protocol):
    """How the story runs outlast on a node whose archive is in `home`."""

    def words(self, home: Path, /, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """A command, and the environment that it runs in."""

    def sha256(self, home: Path, model: str, name: str, /) -> str:
        """That of a file as a plain HTTP client gets it from `outlast serve`."""


def watched(folder: Path, weights: Path, digest: str, node: Node) -> list[tuple[str, str]]:
    """The story; the rows of its table."""
    home, hub_root = folder / "w", folder / "acme"
    first = HubRepo(hub_root, _SMALL)
    first.commit({"README.md": _TEXT, "LICENSE": b"Apache-2.0\n"})
    second = HubRepo(hub_root, _LARGE)
    second.commit({weights.name: weights})
    shutil.copytree(hub_root, folder / "mirror")
    with HubSim(hub_root) as hub, HubSim(folder / "mirror") as mirror:
        for one in (hub, mirror):
            one.set_faults([{"action": "slow", "file": weights.name, "rate": _RATE}])

        def run(*arguments: str, status: int = 0) -> str:
            return _run(node, home, *arguments, status=status)

        sources = ("--from", hub.url, "--from", mirror.url)
        run("follow", _SMALL, "--budget", "1MB", "--quiet")
        run("watch", "--once", *sources)
        first.delete()
        told = run("watch", "--once", "--now", *sources, status=_WITHDRAWN)
        require(f"{_SMALL} was withdrawn" in told, "the next look tells it")
        _check_kept(run, node, home, (_SMALL, "README.md"), hub.url)

        run("follow", _LARGE, "--budget", "1GB", "--quiet")
        line, environment = node.words(home, "watch", "--once", *sources, "--quiet")
        say(f"    $ outlast {' '.join(line[3:])}")
        size, layout = weights.stat().st_size, Layout(home)
        with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) as process:
            wait_until(
                lambda: (
                    process.poll() is not None or present_bytes(layout, digest, size) > size // 3
                ),
                "a third of the file",
            )
            require(process.poll() is None, "a third of the second model is here")
            second.delete()
            say("    the hub deletes it")
        require(process.returncode in {0, _WITHDRAWN}, "the pull came to its end")
        kept = sum(e.sent for e in hub.requests() if e.file == weights.name)
        came = sum(e.sent for e in mirror.requests() if e.file == weights.name)
        twice = f"{megabytes(kept)} of it from the hub were kept, the rest came from the mirror"
        require(kept > 0 and kept + came - size <= 16 * 2**20, twice)
        told = run("watch", "--once", "--now", *sources, status=_WITHDRAWN)
        require(f"{_LARGE} was withdrawn" in told, "and the next look tells it")
        got = _check_kept(run, node, home, (_LARGE, weights.name), hub.url)
        require(got == digest, "with the same sha256")
    return [("of the model that went mid-pull, kept from the hub", megabytes(kept))]


def _run(node: Node, home: Path, *arguments: str, status: int) -> str:
    say(f"    $ outlast {' '.join(arguments)}")
    line, environment = node.words(home, *arguments)
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != status:
        raise StepFailedError(f"outlast {arguments[0]} ended with status {done.returncode}")
    for text in done.stdout.splitlines():
        if not text.startswith("{"):
            say(f"    {text}")
    return done.stdout


def _check_kept(
    run: Callable[..., str], node: Node, home: Path, held: tuple[str, str], hub: str
) -> str:
    """The archive has all of a model, says where and when it was withdrawn, and serves it; the
    sha256 of what a client gets.
    """
    model, file = held
    about = json.loads(run("show", model, "--json").splitlines()[-1])
    where = [one for one in about["withdrawn"] if one["source"] == hub]
    require(not about["partial"], f"{model} is here, whole")
    require(len(where) == 1, f"withdrawn at {hub} on {where[0]['since'][:10] if where else '?'}")
    run("log", model)
    got = node.sha256(home, model, file)
    require(bool(got), f"a client gets {file}")
    return got
