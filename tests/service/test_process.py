"""What the units start, started as systemd would: their very command line, with their environment,
files and filters, in a process of its own.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from outlast.cli.service.notify import tell_ready
from tests.cli.call import environment, inside, until
from tests.codec.files import of_safetensors
from tests.hubsim import HubRepo, HubSim
from tests.hubsim.ask import ask
from tests.ports import free_port
from tests.pull.kit import check_archive, contents
from tests.service import confined
from tests.service.reading import command, settings, specifiers

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
_ROWS = Random(3).randbytes(1 << 18)
BF16 = bytes(byte for low in _ROWS for byte in (low, 0x3F))  # half of it compresses
FILES = {
    "config.json": b'{"a": 1}',
    "model.safetensors": of_safetensors({"weight": ("BF16", (512, 512), BF16)}),
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES, refs=["main"])
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        yield hub


def in_units(env_file: Path) -> dict[str, str]:
    """A file of variables, as systemd reads simple ones."""
    lines = env_file.read_text().splitlines() if env_file.exists() else []
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass
class Started:
    """A process that runs what a unit says; `heard` is what it told the service manager."""

    process: subprocess.Popen[bytes]
    manager: socket.socket

    def heard(self) -> str:
        until(lambda: self._ready() or self.process.poll() is not None, "it is ready", SECONDS)
        assert self.process.poll() is None, self.process.communicate()
        return self.manager.recv(4096).decode()

    def _ready(self) -> bool:
        try:
            return bool(self.manager.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False


@pytest.fixture
def started() -> Iterator[list[Started]]:
    """Those that a test starts; they end with it."""
    found: list[Started] = []
    yield found
    for each in found:
        each.process.kill()
        each.process.communicate()
        each.manager.close()


def start(tmp_path: Path, text: str, *, confine: bool = False) -> Started:
    """Starts what a unit says, with the credentials that it loads, as systemd would. The folder of
    configurations (``%E``) is tmp_path/etc.
    """
    unit = settings(text)
    (tmp_path / "unit.service").write_text(text)
    specifier = {"E": str(tmp_path / "etc")}
    kept = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "HOME", "OUTLAST_SWARM")
    env = {name: value for name, value in environment(tmp_path).items() if name in kept}
    for line in unit.get("Service.Environment", []):
        name, _, value = specifiers(line, specifier).partition("=")
        env[name] = value
    for line in unit["Service.EnvironmentFile"]:
        env |= in_units(Path(specifiers(line.removeprefix("-"), specifier)))
    for line in unit.get("Service.LoadCredential", []):
        name, _, source = line.partition(":")
        folder = tmp_path / "credentials"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(specifiers(source, specifier), folder / name)
        env["CREDENTIALS_DIRECTORY"] = str(folder)
    [line] = unit["Service.ExecStart"]
    words = command(line, specifier, env)
    if confine:
        words = [sys.executable, "-m", "tests.service.confined", str(tmp_path / "unit.service"),
                 "--", *words]  # fmt: skip
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = tmp_path / "notify"
    address.unlink(missing_ok=True)
    manager.bind(str(address))
    env["NOTIFY_SOCKET"] = str(address)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            words, env=env, cwd=ROOT if confine else "/", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
    return Started(process, manager)


def units(home: Path, *arguments: str) -> dict[str, str]:
    call = inside("service", "install", "--print", "--json", *arguments, home=home).ok()
    return {Path(d["path"]).name: d["text"] for d in call.of_type("unit")}


@pytest.mark.parametrize("confine", [False, True], ids=["bare", "confined"])
def test_a_mirror(hub: HubSim, tmp_path: Path, started: list[Started], *, confine: bool) -> None:
    """It says that it is ready when it answers, serves, and ends with status 0 at SIGTERM; also
    where it may use no more than the unit allows.
    """
    if confine and (fault := confined.fault()):
        pytest.skip(fault)
    tokens = tmp_path / "the tokens 100% $x.txt"
    tokens.write_text("ann right-token org/*\n")
    port = free_port()
    text = units(
        tmp_path, "--user", "--home", str(tmp_path / "my archive"), "--",
        "--listen", f"127.0.0.1:{port}", "--upstream", hub.url, "--tokens", str(tokens),
    )["outlast.service"]  # fmt: skip
    started.append(start(tmp_path, text, confine=confine))
    url = f"http://127.0.0.1:{port}"
    assert started[0].heard() == f"READY=1\nSTATUS=serving at {url}\n"
    assert ask(url, "/healthz").body == b"ok\n"
    assert ask(url, "/org/name/resolve/main/config.json").status == 401
    for path, data in FILES.items():
        answer = ask(url, f"/org/name/resolve/main/{path}", authorization="Bearer right-token")
        assert answer.body == data
    started[0].process.send_signal(signal.SIGTERM)
    assert started[0].process.wait(SECONDS) == 0
    check_archive(tmp_path / "my archive")
    assert list((tmp_path / "my archive" / "capsules").rglob("*.olc"))  # the codec worked


def test_the_systems_service(hub: HubSim, tmp_path: Path, started: list[Started]) -> None:
    """With a token file as a credential, variables from a file that root alone reads, and the
    configuration below /etc. (Only the archive is elsewhere than in /var/lib.)
    """
    etc = tmp_path / "etc" / "outlast"
    etc.mkdir(parents=True)
    (etc / "config.toml").write_text('[serve]\nhosts = ["models.example"]\n')
    (etc / "outlast.env").write_text("# variables\nHF_TOKEN=hf_right\nOUTLAST_SWARM=0\n")
    tokens = etc / "to ken$.txt"
    tokens.write_text("ann right-token\n")
    port = free_port()
    text = units(
        tmp_path, "--", "--listen", f"127.0.0.1:{port}", "--upstream", hub.url,
        "--tokens", str(tokens),
    )["outlast.service"]  # fmt: skip
    assert "--home=/var/lib/outlast " in text
    text = text.replace("--home=/var/lib/outlast ", f"--home={tmp_path}/state ")
    started.append(start(tmp_path, text))
    started[0].heard()
    url = f"http://127.0.0.1:{port}"
    right = "Bearer right-token"
    answer = ask(url, "/org/name/resolve/main/config.json", authorization=right,
                 host="models.example")  # fmt: skip
    assert answer.body == FILES["config.json"]
    environ = Path(f"/proc/{started[0].process.pid}/environ")
    if environ.exists():
        assert b"HF_TOKEN=hf_right" in environ.read_bytes()
        arguments = Path(f"/proc/{started[0].process.pid}/cmdline").read_bytes()
        assert b"right-token" not in arguments
        assert b"hf_right" not in arguments


@pytest.mark.parametrize("confine", [False, True], ids=["bare", "confined"])
def test_a_list(hub: HubSim, tmp_path: Path, started: list[Started], *, confine: bool) -> None:
    """Once, and at its end the service is over."""
    if confine and (fault := confined.fault()):
        pytest.skip(fault)
    (tmp_path / "my models.txt").write_text("org/name\norg/none\n")
    text = units(
        tmp_path, "--sync", str(tmp_path / "my models.txt"), "--", "--from", hub.url, "--no-swarm"
    )["outlast-sync.service"]
    text = text.replace("--home=/var/lib/outlast ", f"--home={tmp_path}/state ")
    started.append(start(tmp_path, text, confine=confine))
    process = started[0].process
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 3  # one of the two is not there
    assert b"org/name  new" in out
    assert contents(tmp_path / "state", "org/name") == FILES


def test_the_filters_hold(tmp_path: Path) -> None:
    """What a unit does not allow fails under them: else the tests above would show nothing."""
    if fault := confined.fault():
        pytest.skip(fault)
    [text] = units(tmp_path).values()
    (tmp_path / "unit.service").write_text(text)
    script = """
import ctypes, json, mmap, os, socket
def tried(work):
    try:
        work()
    except OSError as error:
        return error.errno
    return 0
print(json.dumps({
    "root": tried(lambda: os.chroot("/")),
    "packet": tried(lambda: socket.socket(17, socket.SOCK_RAW)),
    "both": tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "inet": tried(lambda: socket.socket(socket.AF_INET)),
}))
"""
    done = subprocess.run(
        [sys.executable, "-m", "tests.service.confined", tmp_path / "unit.service", "--",
         sys.executable, "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"root": 1, "packet": 97, "both": 1, "inet": 0}


def test_the_swarm_works_under_the_filters(tmp_path: Path) -> None:
    """It begins to listen; on loopback alone, here."""
    if fault := confined.fault():
        pytest.skip(fault)
    [text] = units(tmp_path).values()
    (tmp_path / "unit.service").write_text(text)
    script = """
import libtorrent
off = dict.fromkeys(("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp"), False)
session = libtorrent.session({"listen_interfaces": "127.0.0.1:0", **off, "alert_mask": -1})
while not session.is_listening():
    assert session.wait_for_alert(60000)
    for alert in session.pop_alerts():
        assert "listen_failed" not in alert.what(), alert.message()
"""
    done = subprocess.run(
        [sys.executable, "-m", "tests.service.confined", tmp_path / "unit.service", "--",
         sys.executable, "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_an_abstract_socket_too() -> None:
    name = f"outlast-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        tell_ready({"NOTIFY_SOCKET": f"@{name}"}, "here")
        assert manager.recv(100) == b"READY=1\nSTATUS=here\n"


@pytest.mark.parametrize("path", ["", "/none/there", "@none-there", "relative", "/" + "x" * 200])
def test_a_manager_that_is_not_there_is_none_of_our_business(path: str) -> None:
    tell_ready({"NOTIFY_SOCKET": path} if path else {}, "here")


def test_where_systemd_runs(tmp_path: Path) -> None:
    """Systemd itself starts the unit of a user, where there is a manager of the user's."""
    state = subprocess.run(
        ["systemctl", "--user", "is-system-running"], capture_output=True, text=True, check=False
    ) if shutil.which("systemctl") else None  # fmt: skip
    if state is None or state.stdout.strip() not in {"running", "degraded"}:
        said = state.stdout.strip() or state.stderr.strip() if state else "no systemctl"
        pytest.skip(f"no manager of the user's runs here: {said}")
    port, name = free_port(), f"outlast-test-{os.getpid()}"
    folder = Path(f"/run/user/{os.getuid()}/systemd/user")
    call = inside(
        "service", "install", "--user", "--name", name, "--unit-dir", folder, "--home",
        tmp_path / "archive", "--", "--listen", f"127.0.0.1:{port}", "--no-swarm", home=tmp_path,
    ).ok()  # fmt: skip
    try:
        for action in ("daemon-reload", f"start {name}"):
            subprocess.run(["systemctl", "--user", *action.split()], check=True, timeout=SECONDS)
        assert ask(f"http://127.0.0.1:{port}", "/healthz").body == b"ok\n"
        subprocess.run(["systemctl", "--user", "stop", name], check=True, timeout=SECONDS)
        shown = subprocess.run(
            ["systemctl", "--user", "show", name, "--property=Result"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert shown.stdout == "Result=success\n"
    finally:
        Path(re.sub("\n", "", call.out)).unlink()
        subprocess.run(["systemctl", "--user", "daemon-reload"], check=False, timeout=SECONDS)
