"""An island: two networks of some machines, a line between them, and nothing beyond. No machine has
a way outside, a name server, a time server, certificate authorities, a hub or a package index, and
each has a clock of its own that is wrong.
"""

import contextlib
import errno
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.faults.seam import SECOND, Controls, started_by
from tests.net.lab import Host, Lan, Net, Relay, Wire
from tests.net.node import Node
from tests.net.program import Program, environment

YEAR: Final = 365 * 86_400 * SECOND
HUB: Final = "https://huggingface.co"
"""What a machine asks on which nothing is configured."""
_OUTSIDE: Final = ("192.0.2.10", "2001:db8::10")
_UNREACHABLE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES}


class Islander(Node):
    """`outlast` on a machine of the island whose clock is `shift` nanoseconds ahead."""

    def __init__(self, host: Host, shift: int, *, settings: str = "") -> None:
        super().__init__(host, settings=settings, hub=HUB)
        self.clock = Controls(host.folder / "clock").set(shift=shift)
        (host.folder / "no-authorities").mkdir()

    def start(self, command: str, *arguments: str | Path) -> Program:
        line = [command, *arguments, "--home", self.home, "--json"]
        authorities = str(self.host.folder / "no-authorities")
        env = environment(self.host.folder, {"SSL_CERT_DIR": authorities})
        return self.host.outlast(line, env, started_by(self.host.folder, self.clock))

    def lists(self, name: str) -> bool:
        """Whether it holds a model, whole and by that name."""
        folder = self.home / "refs" / "models" / name
        return (folder / "main").exists()

    def is_cut_off(self) -> bool:
        """Whether no address outside can be reached from here, and no name be looked up."""
        with self.host.inside(), contextlib.suppress(socket.gaierror):
            socket.getaddrinfo("huggingface.co", 443)
            return False
        for address in _OUTSIDE:
            with self.host.inside():
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                line = socket.socket(family)
            with line:
                line.settimeout(5)
                if line.connect_ex((address, 443)) not in _UNREACHABLE:
                    return False
        return True


class Island:
    """Two networks, `here` and `there`, and the mesh between them: `character` as of `Net.relay`,
    or a wire.
    """

    def __init__(self, net: Net, **character: float) -> None:
        self.here, self.there = net.lan(), net.lan()
        self.mesh: Wire | Relay = (
            net.relay(self.here, self.there, **character)
            if character
            else net.wire(self.here, self.there)
        )

    def host(self, lan: Lan, name: str, *, leads_nowhere: bool = False) -> Host:
        """A new machine. It has a way to the other network and no other one: what it sends outside
        is refused at once. Or its way outside `leads_nowhere`: a name server that does not answer
        is waited for.
        """
        host = lan.host(name)
        if not leads_nowhere:
            other = self.there if lan is self.here else self.here
            host.namespace.ip(
                "route delete default",
                f"route add 10.{other.number}.0.0/24 via {lan.gateway.address}",
                "route delete ::/0",
                f"route add fd00:{other.number}::/64 via {lan.gateway.address6}",
            )
        return host


def settings(peers: Sequence[Host], durability: str) -> str:
    """Of a machine with these static peers, and of what it keeps."""
    named = ", ".join(f'"{host.address}:8091"' for host in peers)
    return f"[swarm]\npeers = [{named}]\n[durability]\n{durability}"
