"""The nodes that run on an archive, and what they say: each has a socket in ``nodes/``."""

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json
from outlast.core.status import MAX_STATUS_BYTES, NodeStatus

FOLDER: Final = "nodes"
SUFFIX: Final = ".sock"
_TIMEOUT = 2.0
"""Seconds that a node may take to answer: it asks libtorrent first."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that answered, by process id; and a line for each that did not as it should."""

    nodes: tuple[NodeStatus, ...]
    problems: tuple[str, ...]


def ask_nodes(home: Path, timeout: float = _TIMEOUT) -> Nodes:
    """What the live nodes of the archive in `home` say, each within `timeout` seconds."""
    nodes, problems = [], []
    for path in sockets(home):
        try:
            nodes.append(_ask(path, timeout))
        except (FileNotFoundError, ConnectionRefusedError):  # it has ended
            continue
        except (OSError, http.client.HTTPException, MalformedError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            problems.append(f"the node with process id {path.stem} does not answer: {reason}")
    return Nodes(tuple(sorted(nodes, key=lambda node: node.pid)), tuple(problems))


def sockets(home: Path) -> list[Path]:
    """The sockets of nodes, of which some may be of processes that died."""
    return sorted(path for path in (home / FOLDER).glob(f"*{SUFFIX}") if path.stem.isdecimal())


def _ask(path: Path, timeout: float) -> NodeStatus:
    connection = UnixConnection(path, timeout)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        if response.status != 200:
            raise MalformedError(f"it answers {response.status}")
        data = response.read(MAX_STATUS_BYTES + 1)
        return NodeStatus.from_json(load_json(data, MAX_STATUS_BYTES))
    finally:
        connection.close()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("node", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
