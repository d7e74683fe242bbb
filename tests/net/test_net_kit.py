"""The kit itself: whether what the tests of the swarm rely on is so."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.net import Capture, Host, Net, needs_lab, one_lan
from tests.net.capture import UDP, streams
from tests.net.kernel import Namespace, sweep
from tests.net.program import environment, until

pytestmark = [pytest.mark.net, needs_lab("tcpdump")]
MB = 1_000_000
_GROUP, _PORT = "239.192.152.143", 6771
_SINK = """
import socket, sys, time
server = socket.create_server((sys.argv[1], 7000), family=socket.AF_INET)
print("ready", flush=True)
line, _ = server.accept()
line.recv_into(bytearray(1)); start, count = time.monotonic(), 0
while got := line.recv(1 << 20): count += len(got)
print(count / (time.monotonic() - start), flush=True)
"""


def _speed(sender: Host, receiver: Host, size: int) -> float:
    """Bytes per second that one connection of TCP carries."""
    sink = receiver.start("sink", [sys.executable, "-c", _SINK, receiver.address])
    until(lambda: "ready" in sink.out.read_text(), "the sink listens")
    with sender.inside(), socket.create_connection((receiver.address, 7000)) as line:
        line.sendall(bytes(size))
    sink.ok()
    return float(sink.out.read_text().split()[-1])


def _udp(host: Host, port: int = 0) -> socket.socket:
    with host.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(10)
    sock.bind((host.address if port else "", port))
    return sock


def _connects(sender: Host, receiver: Host, address: str) -> bool:
    with receiver.inside():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.create_server((address, 0), family=family)
    with server, sender.inside():
        try:
            socket.create_connection((address, server.getsockname()[1]), timeout=1.5).close()
        except OSError:
            return False
        return True


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_cap_holds(direction: str) -> None:
    with one_lan("a", "b") as (a, b):
        if direction == "up":
            a.cap(up=4 * MB)
        else:
            b.cap(down=4 * MB)
        assert _speed(a, b, 6 * MB) == pytest.approx(4 * MB, rel=0.15)
        a.cap()
        b.cap()
        assert _speed(a, b, 6 * MB) > 8 * MB


def test_a_cap_is_of_one_machine() -> None:
    with one_lan("a", "b", "c") as (a, b, c):
        a.cap(up=1 * MB, down=1 * MB)
        assert _speed(b, c, 6 * MB) > 4 * MB


def test_a_split_parts_and_healing_joins() -> None:
    with Net() as net:
        lan = net.lan()
        a, b, c, d = (lan.host(name) for name in "abcd")
        assert all(_connects(a, other, other.address) for other in (b, c, d))
        lan.split([a, b])
        assert _connects(a, b, b.address)
        assert _connects(c, d, d.address)
        assert not _connects(a, c, c.address)
        assert not _connects(d, b, b.address6)
        lan.split([c])
        assert not _connects(c, d, d.address)
        lan.heal()
        assert all(_connects(a, other, other.address) for other in (b, c, d))
        assert _connects(c, d, d.address6)


def test_a_cable_can_be_pulled() -> None:
    with one_lan("a", "b") as (a, b):
        a.unplug()
        assert not _connects(b, a, a.address)
        a.plug()
        assert _connects(b, a, a.address)
        assert _connects(a, b, b.address6)


def test_multicast_crosses_the_switch_and_no_gateway() -> None:
    with Net() as net:
        one, two = net.lan(), net.lan()
        net.wire(one, two)
        a, b, c = one.host("a"), one.host("b"), two.host("c")
        ears = []
        for host in (b, c):
            ear = _udp(host)
            with host.inside():
                index = socket.if_nametoindex("eth0")
            member = socket.inet_aton(_GROUP) + bytes(4) + index.to_bytes(4, sys.byteorder)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            ears.append(ear)
        with ears[0], ears[1], _udp(a) as mouth:
            ears[0].settimeout(0.2)
            for _ in range(50):  # a datagram may be lost
                for ear in ears:
                    mouth.sendto(b"hello?", (_GROUP, ear.getsockname()[1]))
                with contextlib.suppress(TimeoutError):
                    assert ears[0].recvfrom(100)[0] == b"hello?"
                    break
            else:
                raise AssertionError("no datagram was heard")
            ears[1].settimeout(0.3)
            with pytest.raises(TimeoutError):
                ears[1].recvfrom(100)


def test_multicast_does_not_reach_the_mute() -> None:
    with Net() as net:
        lan = net.lan()
        a, b = lan.host("a"), lan.host("b")
        lan.mute(b)
        ear = _udp(b)
        ear.settimeout(0.3)
        with b.inside():
            index = socket.if_nametoindex("eth0")
        member = socket.inet_aton(_GROUP) + bytes(4) + index.to_bytes(4, sys.byteorder)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        with ear, _udp(a) as mouth:
            mouth.sendto(b"hello?", (_GROUP, ear.getsockname()[1]))
            with pytest.raises(TimeoutError):
                ear.recvfrom(100)
        assert _connects(a, b, b.address)


def test_counters_count() -> None:
    with one_lan("a", "b", "c") as (a, b, c):
        before = [host.counters() for host in (a, b, c)]
        _speed(a, b, 3 * MB)
        sent, received, aside = (
            host.counters() - then for host, then in zip((a, b, c), before, strict=True)
        )
        assert 3 * MB < sent.sent < 3.3 * MB
        assert 3 * MB < received.received < 3.3 * MB
        assert aside.sent + aside.received < 20_000


def test_a_capture_sees_what_is_said() -> None:
    said = b"".join(b"line %d of what is said\n" % number for number in range(9000))
    with one_lan("a", "b") as (a, b):
        with a.inside():
            server = socket.create_server((a.address, 0))
        with server, Capture(a) as capture:
            with b.inside():
                line = socket.create_connection(server.getsockname())
            answer, _ = server.accept()
            with line, _udp(a) as mouth:
                with answer:
                    answer.sendall(said)
                    mouth.sendto(b"a datagram", (b.address, 5))
                got = b""
                while more := line.recv(1 << 16):
                    got += more
        assert got == said
        assert said in streams(capture.left())
        assert any(p.protocol == UDP and p.payload == b"a datagram" for p in capture.left())
        assert a.address in {p.source for p in capture.left()}
        assert b.address not in {p.source for p in capture.left()}
        assert any(p.source == b.address for p in capture.packets())


@pytest.mark.parametrize("relayed", [False, True])
def test_sites_reach_each_other_until_the_line_is_cut(relayed: bool) -> None:
    with Net() as net:
        one, two = net.lan(), net.lan()
        a, b = one.host("a"), two.host("b")
        assert not _connects(a, b, b.address)
        line = net.relay(one, two) if relayed else net.wire(one, two)
        assert _connects(a, b, b.address)
        assert _connects(b, a, a.address6)
        line.cut()
        until(lambda: not _connects(a, b, b.address), "the line is cut")
        line.mend()
        until(lambda: _connects(a, b, b.address), "the line is mended")


def test_a_wire_is_as_slow_as_it_should_be() -> None:
    with Net() as net:
        one, two = net.lan(), net.lan()
        net.wire(one, two, rate=4 * MB)
        assert _speed(one.host("a"), two.host("b"), 6 * MB) == pytest.approx(4 * MB, rel=0.15)


def test_a_relay_delays_and_loses() -> None:
    with Net() as net:
        one, two = net.lan(), net.lan()
        a, b = one.host("a"), two.host("b")
        net.relay(one, two, delay=0.05, jitter=0.01, loss=0.3)
        with _udp(b, 7001) as ear, _udp(a) as mouth:
            ear.settimeout(2)
            waits, heard = [], 0
            for _ in range(60):
                mouth.sendto(b"x", (b.address, 7001))
            start = time.monotonic()
            try:
                while True:
                    ear.recvfrom(10)
                    waits.append(time.monotonic() - start)
                    heard += 1
            except TimeoutError:
                pass
        assert min(waits) > 0.045
        assert 30 <= heard <= 54


def test_what_a_killed_run_left_is_removed() -> None:
    script = "import os, signal; from tests.net import Net; net = Net().__enter__();"
    script += "host = net.lan().host('a'); host.start('sleep', ['sleep', '1000']);"
    script += (
        "print(host.namespace.name, net.folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    name, folder = done.stdout.split()
    assert Path("/run/netns", name).exists()
    assert Path(folder).exists()
    with one_lan("b") as (b,):
        assert not Path("/run/netns", name).exists()
        assert not Path(folder).exists()
        assert Path("/run/netns", b.namespace.name).exists()
        sweep()
        assert Path("/run/netns", b.namespace.name).exists()


def test_outlast_runs_on_its_machine_until_it_is_killed() -> None:
    with one_lan("a") as (a,):
        env = environment(a.folder, {"OUTLAST_HOME": str(a.folder / "archive")})
        version = a.outlast(["--version"], env).ok()
        assert version.out.read_text().startswith("outlast, version")
        none = a.outlast(["ls"], env)
        assert none.wait() == 3
        assert "not-found" in none.err.read_text()
        (a.folder / "archive").mkdir()
        server = a.outlast(["serve", "--listen", "127.0.0.1:0"], env)
        until(lambda: server.ended or server.out.read_bytes(), "it serves")
        server.check()
        assert os.stat(f"/proc/{server.pid}/ns/net").st_ino == (
            os.stat(f"/run/netns/{a.namespace.name}").st_ino
        )
        assert os.readlink(f"/proc/{server.pid}/cwd") == str(a.folder)
        server.kill()
        assert server.wait() == -signal.SIGKILL
        assert a.outlast(["--version"], env).wait() == 0


def test_a_thread_comes_back_from_a_namespace() -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    with one_lan("a") as (a,):
        with a.inside():
            assert os.readlink("/proc/thread-self/ns/net") != home
        assert os.readlink("/proc/thread-self/ns/net") == home
        with pytest.raises(ZeroDivisionError), a.inside():
            _ = 1 / 0
        assert os.readlink("/proc/thread-self/ns/net") == home
        with pytest.raises(FileNotFoundError), Namespace("there is none").inside():
            pass
        assert os.readlink("/proc/thread-self/ns/net") == home
