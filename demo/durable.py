"""What is here stays right, and crosses a gap: a bit rots while a client downloads, and a bundle of
which a tenth is damaged is imported on a node that has no network at all.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from demo.story import StepFailedError, megabytes, require, say
from outlast.core.digest import Digest
from outlast.store.layout import Layout
from tests.hubsim import HubRepo, HubSim

_ROTTEN_AT = 0.5
_MOST_FETCHED = 2 << 20


class Node(Protocol):
    """How the story runs outlast on a node whose archive is in `home`."""

    def words(self, home: Path, /, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """A command, and the environment that it runs in."""


def rotten(  # noqa: PLR0917 - what the whole demo has made so far
    folder: Path,
    model: str,
    weights: Path,
    digest: str,
    node: Node,
    download: Callable[[Path, str, Path], str],
) -> list[tuple[str, str]]:
    """A bit of a file flips, of the weights with this `digest`. `download` serves the archive of a
    node with a hub behind it; its result is the sha256 of what an unmodified client gets. Returns
    the rows of a table.
    """
    home, root = folder / "r", folder / "rot-hub"
    HubRepo(root, model).commit({weights.name: weights}, refs=["main"])
    with HubSim(root) as hub:
        _run(node, home, "pull", model, "--from", hub.url, "--form", "plain", "--quiet")
        whole = _sent(hub, weights)
        _flip(Layout(home).blob(Digest(digest)))
        say(f"    one bit of {weights.name} flips on R's disk")
        got = download(home, hub.url, folder / "rot-client")
        require(got == digest, "the client was cut off before the wrong bytes, and got the right")
        fetched = _sent(hub, weights) - whole
        took = f"R mended its file with {megabytes(fetched)} from the hub"
        require(0 < fetched <= _MOST_FETCHED, took)
    _run(node, home, "verify", model)
    return [("fetched to mend a flipped bit", megabytes(fetched))]


def crossed(folder: Path, model: str, question: str, node: Node) -> list[tuple[str, str]]:
    """The model crosses an air gap on a stick of which a tenth is lost; the rows of its table."""
    stick, island = folder / "stick", folder / "island"
    told = _run(node, folder / "a", "export", model, "--to", str(stick), "--json")
    written = json.loads(told.splitlines()[-1])
    parts = sorted((stick / "parts").iterdir())
    lost = max(1, len(parts) // 10)
    parts[0].unlink()
    for part in parts[1:lost]:
        with part.open("r+b") as file:
            file.write(os.urandom(part.stat().st_size))
    say(f"    of {len(parts)} parts one is lost and {lost - 1} overwritten")
    checked = subprocess.run(
        [sys.executable, "-I", str(stick / "verify.py"), "--quick"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    say(f"    $ python3 verify.py --quick\n    {checked.stdout.strip().splitlines()[-1]}")
    require(checked.returncode == 1, "verify.py, which needs Python alone, names what is damaged")

    alone = _without_network()
    say(f"    node I, {'in a network namespace of its own' if alone else 'on this network'}:")
    _run(node, island, "import", str(stick), before=alone)
    # Nothing speaks for what came on a stick, until I names the manifest that A exported.
    about = json.loads(_run(node, folder / "a", "show", model, "--json").splitlines()[-1])
    limits = ("--temperature", "0", "--max-tokens", "40", "--json")
    words = ("run", model, question, *limits, "--accept", about["manifest"])
    answer = json.loads(_run(node, island, *words, before=alone).splitlines()[-1])
    say(f"    > {question}\n    {answer['text'].strip()}")
    require(bool(answer["text"].strip()), "the model answered on the other side")
    return [("a bundle with 10 % parity", megabytes(written["bytes"]))]


def _flip(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * _ROTTEN_AT))
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))


def _sent(hub: HubSim, weights: Path) -> int:
    return sum(entry.sent for entry in hub.requests() if entry.file == weights.name)


def _without_network() -> list[str]:
    """What a command begins with to run where there is no network; empty where that is refused."""
    own_user = [] if os.geteuid() == 0 else ["--map-root-user", "--user"]
    prefix = ["unshare", *own_user, "--net"]
    if shutil.which("unshare") is None:
        return []
    probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if probe.returncode == 0 else []


def _run(node: Node, home: Path, *arguments: str, before: list[str] | None = None) -> str:
    say(f"    $ outlast {' '.join(arguments)}")
    line, environment = node.words(home, *arguments)
    done = subprocess.run(
        [*(before or []), *line], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise StepFailedError(f"outlast {arguments[0]} ended with status {done.returncode}")
    for text in done.stdout.splitlines():
        if not text.startswith("{"):
            say(f"    {text}")
    return done.stdout
