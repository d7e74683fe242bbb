"""Where the nodes of the swarm's story run: machines on a LAN of their own, in the kernel's network
namespaces, where that can be; else processes side by side on this machine.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from outlast.swarm.lan.beacon import Beacon
from outlast.swarm.lan.multicast import scan
from tests.net import Lan, Net
from tests.net.kernel import LabError, why_not

_OWN_ROOT = ("unshare", "--user", "--map-root-user", "--net", "--mount")
_OWN_NAMES = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@"'


@dataclass(frozen=True)
class Machine:
    """A place for a node: its `folder`, the `address` that others reach it at, and others that it
    goes by, and what a process there finds in its `environment`. What starts `inside` runs there.
    """

    name: str
    folder: Path
    address: str
    aliases: tuple[str, ...] = ()
    inside: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    environment: Mapping[str, str] = field(default_factory=dict)


class Site(Protocol):
    """Machines that reach each other. `told`: what a reader should know of them."""

    told: str
    elects: bool
    """Whether nodes hear of each other by themselves, and so share what all of them want."""

    def machine(self, name: str, *, up: float | None = None) -> Machine:
        """A new one; `up` caps what leaves it, in bytes/s."""


class Lab:
    """A LAN of namespaces: nothing in it reaches the outside."""

    told = "each on a machine of its own (network namespaces), on one LAN; nothing is configured"
    elects = True

    def __init__(self, lan: Lan) -> None:
        self._lan = lan

    def machine(self, name: str, *, up: float | None = None) -> Machine:
        host = self._lan.host(name.lower(), up=up)
        return Machine(name, host.folder, host.address, (f"[{host.address6}]",), host.inside)


class Desk:
    """Processes of this machine, which find each other on its loopback interface; where that
    carries no multicast, each is told of those before it as its static peers.
    """

    def __init__(self, folder: Path, *, why: str) -> None:
        self._folder = folder
        self._peers: list[str] = []
        self.elects = _hear_each_other()
        how = (
            "they find each other there, and speak on this machine's networks, too"
            if self.elects
            else "they are told of each other as static peers, for it carries no multicast"
        )
        self.told = f"on this machine's loopback ({why}): {how}"

    def machine(self, name: str, *, up: float | None = None) -> Machine:
        folder = self._folder / name.lower()
        folder.mkdir()
        port = _free_port()
        environment = {"OUTLAST_PEER_PORT": str(port)}
        if not self.elects:
            environment["OUTLAST_PEERS"] = ",".join(self._peers)
            self._peers.append(f"127.0.0.1:{port}")
        if up is not None:
            config = folder / "config.toml"
            config.write_text(f'[swarm]\nup = "{int(up)}"\nlan-up = "{int(up)}"\n')
            environment["OUTLAST_CONFIG"] = str(config)
        return Machine(name, folder, "127.0.0.1", environment=environment)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _hear_each_other() -> bool:
    """Whether the loopback interface carries what nodes say to each other."""
    names = [interface.name for interface in scan() if interface.is_loopback]
    heard = threading.Event()
    with (
        Beacon(os.urandom(20), 1, lambda _: heard.set(), interfaces=names),
        Beacon(os.urandom(20), 2, lambda _: None, interfaces=names),
    ):
        return heard.wait(2.0)


@contextlib.contextmanager
def open_site() -> Iterator[Site]:
    """A LAN where there can be one."""
    with contextlib.ExitStack() as stack:
        why = why_not()
        if not why:
            try:
                lan = stack.enter_context(Net()).lan()
            except (LabError, OSError) as error:
                why = f"no network namespaces: {error}"
            else:
                yield Lab(lan)
                return
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="outlast-demo-"))
        yield Desk(Path(folder), why=why)


def as_own_root(command: list[str]) -> list[str]:
    """`command` in a user namespace of its own, where it may make networks as root may, if this is
    not root and the kernel lends one; else as it is.
    """
    wrapped = [*_OWN_ROOT, "sh", "-c", _OWN_NAMES, "sh"]
    if os.geteuid() == 0 or shutil.which("unshare") is None:
        return command
    probe = [*wrapped, sys.executable, "-m", "demo.sites"]
    works = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    return [*wrapped, *command] if works else command


if __name__ == "__main__":  # the probe: whether a LAN can be made
    with open_site() as found:
        sys.exit(0 if isinstance(found, Lab) else 1)
