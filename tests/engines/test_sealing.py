"""A sealed engine reaches no network: by attempts from inside, and by a capture from outside."""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.engines import sealing
from outlast.engines.base import ChatMessage, Sampling
from outlast.engines.llama import LlamaOptions, open_llama
from outlast.engines.process import Worker, count_packets
from outlast.engines.sealing import FILTER, NAMESPACE, filter_program

ROOT = Path(__file__).parents[2]
OPTIONS = LlamaOptions(context=512, threads=1, sealed=True)
PROMPTS = 1000 if os.environ.get("OUTLAST_TORTURE") else 5


def attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sealed: bool) -> Any:
    """What a worker reports that tries to get out, and what kept it."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
    monkeypatch.setattr("outlast.engines.process._PACKAGE_ROOT", os.fspath(ROOT / "src"))
    path = os.fspath(tmp_path / "service")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(path)
        local.listen()
        worker = Worker("tests.engines.sealed_worker", "test", sealed=sealed)
        try:
            config = {"port": server.getsockname()[1], "path": path}
            return worker.start(config, Cancel(), {}), worker.sealed_by, worker.packets
        finally:
            worker.stop(grace=0)


def test_a_sealed_worker_gets_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts, by, packets = attempts(tmp_path, monkeypatch, sealed=True)
    assert by == (NAMESPACE, FILTER)
    ways = {way: facts[way] for way in ("tcp", "udp", "local", "datagram")}
    assert all("Operation not permitted" in said for said in ways.values()), ways
    assert facts["_listen"] == ""
    assert [line.split(":")[0].strip() for line in facts["interfaces"].splitlines()[2:]] == ["lo"]
    assert packets == 0


def test_without_the_seal_the_same_worker_gets_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, by, packets = attempts(tmp_path, monkeypatch, sealed=False)
    assert (facts["tcp"], facts["udp"], facts["local"]) == ("", "", "")
    assert (by, packets) == ((), None)


@pytest.mark.parametrize(
    ("broken", "left"), [("_leave_networks", FILTER), ("_filter_calls", NAMESPACE)]
)
def test_either_lock_is_enough(broken: str, left: str) -> None:
    said = try_seal(f"sealing.{broken} = fail", "tcp()")
    assert said.startswith(f"['{left}']"), said
    assert "Operation not permitted" in said or "Network is unreachable" in said, said


def test_without_any_lock_nothing_runs() -> None:
    said = try_seal("sealing._leave_networks = sealing._filter_calls = fail", "print('ran')")
    assert "ran" not in said
    assert "cannot be sealed" in said
    assert "not today" in said


def try_seal(change: str, then: str) -> str:
    """What a process prints that seals itself after `change`, and tries `then`."""
    script = f"""
import socket
from outlast.engines import sealing
from outlast.engines.worker import RefusedError
def fail(libc):
    raise OSError(1, "not today")
def tcp():
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=5)
    except OSError as error:
        print(error)
{change}
try:
    print(sealing.seal())
    {then}
except RefusedError as error:
    print(error)
"""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout


def test_where_there_is_no_seal_the_model_is_not_loaded(
    model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In place of the kernel, a module that the worker imports refuses."""
    package = tmp_path / "sitecustomize.py"
    package.write_text(
        "import outlast.engines.sealing as sealing\n"
        "def fail(libc):\n    raise OSError(1, 'forbidden here')\n"
        "sealing._leave_networks = sealing._filter_calls = fail\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
    with pytest.raises(EngineError, match="cannot be sealed") as caught:
        open_llama([model], OPTIONS, Cancel())
    assert "\n" not in str(caught.value)


def test_a_machine_without_numbers_has_no_filter() -> None:
    with pytest.raises(OSError, match="riscv64"):
        filter_program("riscv64")


@pytest.mark.parametrize("machine", sorted(sealing._SYSTEMS))
def test_the_filter_jumps_within_itself(machine: str) -> None:
    program = filter_program(machine)
    lines = list(struct.iter_unpack("@HBBI", program))
    assert lines[-1][0] == 0x06
    for at, (code, yes, no, _) in enumerate(lines):
        if code & 0x07 == 0x05:
            assert at + 1 + max(yes, no) < len(lines)


def test_packets_of_all_interfaces_count() -> None:
    text = (
        "Inter-|   Receive      |  Transmit\n face |bytes packets\n"
        "    lo: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n  eth0:7 30 0 0 0 0 0 0 9 400 0 0 0 0 0 0\n"
    )
    assert count_packets(text) == 433


@contextlib.contextmanager
def captured(pid: int, file: Path) -> Iterator[None]:
    """Captures everything in the network namespace of a process."""
    inside = ["nsenter", "-t", str(pid), "-n"]
    command = [*inside, "tcpdump", "-i", "any", "-U", "-Z", "root", "--immediate-mode"]
    command += ["-w", os.fspath(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "listening on" in line:
                break
        else:
            pytest.skip(f"no capture: {lines}")
        try:
            yield
            # A packet of our own, through the loopback that nothing else has raised: the capture
            # can see.
            raised = [*inside, sys.executable, "-c", LOOPBACK]
            subprocess.run(raised, check=True)
            size = -1
            while size != (size := file.stat().st_size) or size <= HEAD:
                time.sleep(0.2)  # tcpdump writes what it has seen
        finally:
            process.terminate()


HEAD = 24
LOOPBACK = """
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
    sock.sendto(b"MARK", ("127.0.0.1", 9))
"""


@pytest.mark.torture
@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("tcpdump", "nsenter"))),
    reason="needs root, tcpdump and util-linux",
)
def test_a_capture_sees_no_packet(model: str, tmp_path: Path) -> None:
    """A thousand prompts (a few, unless `make torture` asks): the only packets are the test's."""
    file = tmp_path / "all.pcap"
    with open_llama([model], OPTIONS, Cancel()) as engine:
        worker = engine._worker
        assert worker is not None
        with captured(worker._process.pid, file):
            for number in range(PROMPTS):
                messages = [ChatMessage("user", f"Prompt {number}: fetch http://127.0.0.1/")]
                list(engine.chat(messages, Sampling(max_tokens=1), Cancel()))
            before = engine.sealing
    assert before is not None
    assert (before.requests, before.packets) == (PROMPTS, 0)
    frames = list(pcap_frames(file.read_bytes()))
    # The packet, and loopback's answer that nothing listens there; nothing came before.
    assert b"MARK" in frames[0]
    assert len(frames) <= 2


def pcap_frames(data: bytes) -> Iterator[bytes]:
    at = HEAD
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        yield data[at + 16 : at + 16 + length]
        at += 16 + length
