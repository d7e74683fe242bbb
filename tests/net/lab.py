"""Machines, switches and lines: `Net` makes them, and removes them all at its end."""

import contextlib
import functools
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.net.kernel import LabError, Namespace, own_prefix, sweep
from tests.net.program import Program, Start
from tests.warm import Child, Order, start

_TOP = Path(__file__).resolve().parents[2]
_numbers = itertools.count(1)
_STRAYS = "strays{}"


@dataclass(frozen=True, slots=True)
class Counters:
    """Bytes that a machine has sent and received, frames with their headers."""

    sent: int
    received: int

    def __sub__(self, before: "Counters") -> "Counters":
        return Counters(self.sent - before.sent, self.received - before.received)


class Host:
    """A machine: a namespace with a network card for each line that leads to it."""

    def __init__(self, namespace: Namespace, name: str, folder: Path) -> None:
        self.namespace = namespace
        self.name = name
        self.folder = folder
        self.address = ""
        self.address6 = ""
        self._ports: list[tuple[Switch, str]] = []
        self._programs: list[Program] = []
        self._numbers = itertools.count(1)
        folder.mkdir()

    def __repr__(self) -> str:
        return f"Host({self.name}, {self.address})"

    def inside(self) -> contextlib.AbstractContextManager[None]:
        """What is started meanwhile runs on this machine; sockets made meanwhile are its own."""
        return self.namespace.inside()

    def start(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> Program:
        """Starts a program here; it works in `folder`, and is killed at the end of the lab."""
        with self.inside():
            return self._started(Program(command, self.folder, self._numbered(name), env))

    def outlast(
        self,
        arguments: Sequence[str | Path],
        env: Mapping[str, str],
        by: Callable[[str, Start], Child] | None = None,
    ) -> Program:
        """Starts `outlast` here, likewise: what `python -m outlast` does, without the time that it
        takes to import it (`tests/warm`); `by` is another way to fork it.
        """
        launch = functools.partial(by or fork, self.namespace.name)
        name = self._numbered(str(arguments[0]))
        return self._started(Program(arguments, self.folder, name, env, launch))

    def _numbered(self, name: str) -> str:
        return f"{next(self._numbers)}-{name}"

    def _started(self, program: Program) -> Program:
        self._programs.append(program)
        return program

    def halt(self) -> None:
        """Kills all that was started here."""
        for program in self._programs:
            program.kill()
        self._programs.clear()

    def plugged(self, switch: "Switch", port: str) -> str:
        """Notes a line to a switch; the name of the card at this end of it."""
        self._ports.append((switch, port))
        return f"eth{len(self._ports) - 1}"

    def cap(self, *, up: float | None = None, down: float | None = None) -> None:
        """Caps the first card to bytes per second: frames with their headers, so that about 95 %
        of it is left for what TCP carries. None: no cap.
        """
        switch, port = self._ports[0]
        self.namespace.shape("eth0", up)
        switch.namespace.shape(port, down)

    def counters(self, card: int = 0) -> Counters:
        (link,) = self.namespace.ask("-statistics", "link", "show", f"eth{card}")
        stats = link["stats64"]
        return Counters(stats["tx"]["bytes"], stats["rx"]["bytes"])

    def unplug(self, card: int = 0) -> None:
        """The cable is out: the card notices."""
        switch, port = self._ports[card]
        switch.namespace.ip(f"link set {port} down")

    def plug(self, card: int = 0) -> None:
        switch, port = self._ports[card]
        switch.namespace.ip(f"link set {port} up")


def fork(namespace: str, about: Start) -> Child:
    """Runs `outlast` in a network namespace, with the command's words as its arguments."""
    words = [str(word) for word in about.command]
    order = Order(words, about.env, str(about.folder), namespace=namespace)
    return start(order, about.out, about.err)


class Switch:
    """A bridge. `split` parts what is connected to it; no card notices."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._ports: dict[Host, str] = {}
        self._bridges = 0
        self._bridge("br0")

    def _bridge(self, name: str) -> None:
        kind = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        self.namespace.ip(f"link add {name} {kind}", f"link set {name} up")

    def connect(self, host: Host, *addresses: str) -> str:
        """Lays a cable to `host` and gives it `addresses` (with prefix); the name of the card."""
        port = f"p{len(self._ports)}"
        card = host.plugged(self, port)
        self._ports[host] = port
        self.namespace.ip(
            f"link add {port} type veth peer name {card} netns {host.namespace.name}",
            f"link set {port} master br0 up",
        )
        lines = [f"address add {a} dev {card}{' nodad' if ':' in a else ''}" for a in addresses]
        host.namespace.ip(f"link set {card} up", *lines)
        return card

    def split(self, *groups: Sequence[Host]) -> None:
        """From now on the hosts of each group reach each other and no other host. Hosts of no group
        stay together.
        """
        for group in groups:
            self._bridges += 1
            name = _STRAYS.format(self._bridges)
            self._bridge(name)
            self.namespace.ip(*(f"link set {self._ports[host]} master {name}" for host in group))

    def mute(self, host: Host) -> None:
        """No multicast reaches `host` any more, as on networks that carry none. IPv6 then finds no
        neighbour.
        """
        port = self._ports[host]
        self.namespace.ip(f"link set {port} type bridge_slave mcast_flood off")

    def heal(self) -> None:
        """All are together again."""
        self.namespace.ip(*(f"link set {port} master br0" for port in self._ports.values()))
        for number in range(1, self._bridges + 1):
            self.namespace.ip(f"link delete {_STRAYS.format(number)}")
        self._bridges = 0


class Lan(Switch):
    """A switch with a gateway, 10.N.0.0/24 and fd00:N::/64. Hosts have a default route."""

    def __init__(self, net: "Net", number: int) -> None:
        super().__init__(net.namespace(f"lan{number}"))
        self.number = number
        self.gateway = net.machine(f"gateway{number}")
        self._net = net
        self._hosts = 0
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.gateway.namespace.setting(path, "1")
        self._join(self.gateway, 254)

    def _join(self, host: Host, last: int) -> None:
        host.address = f"10.{self.number}.0.{last}"
        host.address6 = f"fd00:{self.number}::{last}"
        self.connect(host, f"{host.address}/24", f"{host.address6}/64")

    def host(self, name: str, *, up: float | None = None, down: float | None = None) -> Host:
        """A new machine on this LAN; caps in bytes/s as of :meth:`Host.cap`."""
        self._hosts += 1
        host = self._net.machine(name)
        self._join(host, self._hosts)
        host.namespace.ip(f"route add default via {self.gateway.address}")
        host.namespace.ip(f"route add ::/0 via {self.gateway.address6}")
        if up or down:
            host.cap(up=up, down=down)
        return host


class Wire:
    """A line between the gateways of two LANs, as quick as the machine or capped."""

    def __init__(self, net: "Net", number: int, ends: tuple[Lan, Lan], rate: float | None) -> None:
        self._switch = Switch(net.namespace(f"wire{number}"))
        self._ends = ends
        for side, lan in enumerate(ends, 1):
            here = (f"172.16.{number}.{side}/24", f"fd01:{number}::{side}/64")
            card = self._switch.connect(lan.gateway, *here)
            lan.gateway.namespace.shape(card, rate)
            _route(lan, ends[2 - side], f"172.16.{number}.{3 - side}", f"fd01:{number}::{3 - side}")

    def cut(self) -> None:
        """What is sent vanishes."""
        self._switch.split([self._ends[0].gateway])

    def mend(self) -> None:
        self._switch.heal()


class Relay:
    """A line between the gateways of two LANs that a process of ours carries packet by packet:
    seconds of `delay` each way and of `jitter` on top, the share `loss` of packets lost, and
    `rate` bytes/s each way (0: what Python can, some 30 MB/s).
    """

    def __init__(self, ends: tuple[Lan, Lan], **character: float) -> None:
        namespaces = [lan.gateway.namespace for lan in ends]
        command = [sys.executable, "-m", "tests.net.relay"]
        command += [namespace.name for namespace in namespaces]
        command += [f"--{name}={value}" for name, value in character.items()]
        self.process = subprocess.Popen(
            command, cwd=_TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if _stream(self.process.stdout).readline() != "ready\n":
            self.stop()
            raise LabError("the relay did not start")
        for namespace in namespaces:
            namespace.ip("link set relay up mtu 1500")
        for here, there in (ends, ends[::-1]):
            _route(here, there, "", "", device="relay")

    def cut(self) -> None:
        """What is sent vanishes, and what is under way arrives."""
        self._say("cut")

    def mend(self) -> None:
        self._say("mend")

    def _say(self, word: str) -> None:
        stdin = _stream(self.process.stdin)
        stdin.write(f"{word}\n")
        stdin.flush()

    def stop(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
            self.process.communicate(timeout=10)
        self.process.kill()
        self.process.wait()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _route(here: Lan, there: Lan, via: str, via6: str, *, device: str = "") -> None:
    how, how6 = (f"dev {device}",) * 2 if device else (f"via {via}", f"via {via6}")
    here.gateway.namespace.ip(f"route add 10.{there.number}.0.0/24 {how}")
    here.gateway.namespace.ip(f"route add fd00:{there.number}::/64 {how6}")


class Net:
    """A context manager around one lab. Its folder is short, for sockets have short paths."""

    def __init__(self) -> None:
        self._prefix = f"{own_prefix()}{next(_numbers)}-"
        self._stack = contextlib.ExitStack()
        self._lans = itertools.count(1)
        self._wires = itertools.count(1)
        self.folder = Path()

    def __enter__(self) -> Self:
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=self._prefix))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def namespace(self, name: str) -> Namespace:
        namespace = Namespace(f"{self._prefix}{name}")
        namespace.make()
        self._stack.callback(namespace.remove)
        return namespace

    def machine(self, name: str) -> Host:
        """A machine that nothing is connected to."""
        host = Host(self.namespace(name), name, self.folder / name)
        self._stack.callback(host.halt)
        return host

    def lan(self) -> Lan:
        return Lan(self, next(self._lans))

    def wire(self, one: Lan, other: Lan, *, rate: float | None = None) -> Wire:
        """Joins two LANs: `rate` in bytes/s, each way."""
        return Wire(self, next(self._wires), (one, other), rate)

    def relay(
        self,
        one: Lan,
        other: Lan,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        rate: float = 0.0,
    ) -> Relay:
        """Joins two LANs by a line as of :class:`Relay`; a gateway can have one."""
        relay = Relay((one, other), delay=delay, jitter=jitter, loss=loss, rate=rate)
        self._stack.callback(relay.stop)
        return relay


@contextlib.contextmanager
def one_lan(*names: str) -> Iterator[list[Host]]:
    """A lab of one LAN with these machines."""
    with Net() as net:
        lan = net.lan()
        yield [lan.host(name) for name in names]
