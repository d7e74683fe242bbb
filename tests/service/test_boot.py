"""The units under the real systemd, on a machine of its own: the commands of the guide write and
start them, the sandbox holds, and the server works in it.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.cli.service.place import this_program
from outlast.cli.service.quoting import argument, program, whole
from tests.campaign import LONG
from tests.hubsim import HubRepo
from tests.service.boot import SECONDS, Machine, command, control_group, machine_fault

pytestmark = [
    pytest.mark.rootonly,
    pytest.mark.torture,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not LONG, reason="boots a systemd of its own: only in make torture"),
]
ROOT = str(Path(__file__).parents[2])
OUTLAST = this_program()
PYTHON = OUTLAST[0].replace("/outlast", "/python")
FILES = {"config.json": b'{"a": 1}', "model.bin": bytes(range(256)) * 5000}
GET = """\
import hashlib, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers=dict(h.split(": ") for h in sys.argv[2:]))
try:
    body = urllib.request.urlopen(request, timeout=60).read()
    print(body.decode() if len(body) < 100_000 else hashlib.sha256(body).hexdigest())
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if fault := machine_fault():
        pytest.skip(fault)
    HubRepo(tmp_path / "hub", "org/name").commit(FILES, refs=["main"])
    with Machine(tmp_path) as machine:
        yield machine


def test_isolation(tmp_path: Path) -> None:
    """Before systemd is started at all: what a machine writes, deletes and sets stays in it."""
    if os.geteuid() != 0 or machine_fault(start=False):
        pytest.skip(machine_fault(start=False) or "needs root, to make namespaces")
    folders = (tempfile.gettempdir(), "/var/tmp")  # noqa: S108 - what systemd would empty
    canaries = [Path(tempfile.mkdtemp(prefix="outlast-canary-", dir=each)) for each in folders]
    places = ("/etc", "/usr", "/opt", "/dev", "/run", "/var", "/var/lib", "/root", *folders, ROOT)
    name = f"outlast-canary-{os.getpid()}"
    script = "\n".join(
        [f"rm -rf {' '.join(map(str, canaries))}"]
        + [f"touch {place}/{name}" for place in places]
        + ["echo 77 > /proc/sys/kernel/panic", "hostname outlast-canary", "cat /proc/mounts",
           "echo done > /mnt/given/done", "ls /mnt/old"]
    )  # fmt: skip
    panic = Path("/proc/sys/kernel/panic").read_text()
    given, work = tmp_path / "given", tmp_path / "work"
    given.mkdir()
    work.mkdir()
    try:
        with control_group() as group:
            line, env = command(given, work, group, "sh", "-c", script)
            done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
        assert (given / "done").exists(), done.stderr
        assert all(canary.is_dir() for canary in canaries)
        assert [place for place in places if Path(place, name).exists()] == []
        assert Path("/proc/sys/kernel/panic").read_text() == panic
        assert socket.gethostname() != "outlast-canary"
        mounts = [line.split()[:4] for line in done.stdout.splitlines()]
        real = {path for device, path, kind, options in mounts
                if kind not in {"overlay", "tmpfs", "proc", "sysfs", "devpts", "cgroup2"}
                and "ro" not in options.split(",")}  # fmt: skip
        assert real == {"/mnt/given"}
    finally:
        for canary in canaries:
            shutil.rmtree(canary)


def until(holds: Callable[[], object], machine: Machine) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, machine.said()
        time.sleep(0.05)


def get(machine: Machine, path: str, *headers: str) -> str:
    return machine.ok(PYTHON, "-c", GET, f"http://127.0.0.1:8090{path}", *headers).strip()


def add_unit(machine: Machine, name: str, text: str) -> None:
    machine.ok("sh", "-c", 'printf "%s" "$1" > "$0"', f"/etc/systemd/system/{name}.service", text)
    machine.ok("systemctl", "daemon-reload")


def start_hub(machine: Machine) -> str:
    """A hub on the machine, as a service; its URL."""
    port_file = "/mnt/given/hub.json"
    hub = f"{PYTHON} -m tests.hubsim --root /mnt/given/hub --port-file {port_file}"
    add_unit(machine, "hub", f"[Service]\nWorkingDirectory={ROOT}\nExecStart={hub}\n")
    machine.ok("systemctl", "start", "hub")
    until(lambda: machine.run("test", "-s", port_file)[0], machine)
    url: str = json.loads(machine.ok("cat", port_file))["hub"]
    return url


def test_a_server_in_its_sandbox(machine: Machine) -> None:
    """A mirror with tokens that root alone can read: it starts, says that it is ready, fetches,
    serves, is asked for its health, and ends cleanly.
    """
    url = start_hub(machine)
    machine.ok("sh", "-c", "mkdir -p /etc/systemd/t && umask 077 && "
               "echo 'ann right-token org/*' > '/etc/systemd/t/the tokens 100%.txt'")  # fmt: skip
    said = machine.ok(
        *OUTLAST, "service", "install", "--now", "--",
        "--upstream", url, "--tokens", "/etc/systemd/t/the tokens 100%.txt",
    )  # fmt: skip
    assert said.startswith("/etc/systemd/system/outlast.service")
    shown = machine.show("outlast", "ActiveState", "StatusText", "User", "UID", "DynamicUser")
    assert shown["ActiveState"] == "active"  # 'start' waited until it was ready
    assert shown["StatusText"] == "serving at http://127.0.0.1:8090"
    assert (shown["User"], shown["DynamicUser"]) == ("outlast", "yes")
    assert int(shown["UID"]) >= 61184  # of the range for dynamic users
    assert get(machine, "/healthz") == "ok"
    path = "/org/name/resolve/main/config.json"
    assert get(machine, path) == "401"
    right = "Authorization: Bearer right-token"
    assert get(machine, path, right) == '{"a": 1}', machine.journal()
    digest = get(machine, "/org/name/resolve/main/model.bin", right)
    assert digest == hashlib.sha256(FILES["model.bin"]).hexdigest()
    assert "outlast_requests_total" in get(machine, "/metrics", right)
    owner = machine.ok("stat", "-c", "%U %a", "/var/lib/private/outlast/outlast.json").split()
    assert owner == ["outlast", "444"]
    machine.ok("systemctl", "stop", "outlast")
    shown = machine.show("outlast", "Result", "ExecMainStatus", "ActiveState")
    assert shown == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}
    machine.ok("systemctl", "start", "outlast")  # the archive is there again, and its user
    assert get(machine, path, right) == '{"a": 1}'
    said = machine.ok(*OUTLAST, "service", "uninstall", "--now")
    assert "multi-user.target.wants/outlast.service" not in machine.ok(
        "ls", "-R", "/etc/systemd/system"
    )
    assert machine.show("outlast", "LoadState") == {"LoadState": "not-found"}
    assert machine.run("test", "-e", "/var/lib/private/outlast/outlast.json")[0]
    assert said


def test_a_setting_that_is_wrong_does_not_start_again_and_again(machine: Machine) -> None:
    arguments = ["service", "install", "--", "--listen", "192.0.2.1:8090", "--no-swarm"]
    machine.ok(*OUTLAST, *arguments)
    machine.ok("systemctl", "daemon-reload")
    assert not machine.run("systemctl", "start", "outlast")[0]
    shown = machine.show("outlast", "ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}


def test_a_timer_keeps_the_list(machine: Machine) -> None:
    """With a list that root alone can read; into the archive that the server serves."""
    url = start_hub(machine)
    machine.ok("sh", "-c", "umask 077; printf 'org/name\\norg/none\\n' > /etc/systemd/models.txt")
    install = [*OUTLAST, "service", "install"]
    machine.ok(*install, "--sync", "/etc/systemd/models.txt", "--now", "--", "--from", url)
    timer = machine.show("outlast-sync.timer", "ActiveState", "NextElapseUSecRealtime")
    assert timer["ActiveState"] == "active"
    assert timer["NextElapseUSecRealtime"]
    assert not machine.run("systemctl", "start", "outlast-sync")[0]  # it waits for the end
    shown = machine.show("outlast-sync", "Result", "ExecMainStatus")
    assert shown == {"Result": "exit-code", "ExecMainStatus": "3"}  # one of the two is not there
    machine.ok("sh", "-c", "echo org/name > /etc/systemd/models.txt")
    machine.ok("systemctl", "start", "outlast-sync")
    assert machine.show("outlast-sync", "Result") == {"Result": "success"}
    machine.ok(*install, "--now", "--", "--no-swarm")
    assert get(machine, "/org/name/resolve/main/config.json") == '{"a": 1}'


def test_the_owner_of_a_folder(machine: Machine) -> None:
    odd = '/mnt/my 100% archive\'s "x" $y \\z;é'
    machine.ok("install", "-d", "-o", "daemon", "-g", "daemon", odd)
    machine.ok(*OUTLAST, "service", "install", "--now", "--home", odd, "--", "--no-swarm")
    assert machine.show("outlast", "User", "DynamicUser") == {"User": "daemon", "DynamicUser": "no"}
    assert get(machine, "/healthz") == "ok"
    assert machine.ok("stat", "-c", "%U", f"{odd}/outlast.json").strip() == "daemon"


def test_odd_words_come_through_systemd(machine: Machine) -> None:
    """What a process gets is what was meant: by systemd's own reading of the unit."""
    said = ["a b", "100%", "%h %n %%", "$HOME", "${HOME} $$ $", "it's", 'q"q', "back\\slash\\n",
            "; rm", ";", "#", " ", "é漢", "-x", "@:+!", "{a,b}", "*", "~", "\\x41", "a\\", '"', "'",
            "", "[x]", "<>", "a=b", "|", "&&", "\\"]  # fmt: skip
    script = (
        "import json, os, sys; file = os.environ['CREDENTIALS_DIRECTORY'] + '/secret'; "
        "print(json.dumps([sys.argv[1:], open(file).read()]))"
    )
    folder, secret = Path("/mnt/od d%h;é"), Path("/mnt/se c'r\"%h\\x")
    machine.ok("mkdir", "-p", str(folder))
    machine.ok("ln", "-s", PYTHON, str(folder / "pyt hon"))
    machine.ok("sh", "-c", 'echo "x y" > "$0"', str(secret))
    line = " ".join([program(Path(PYTHON)), *map(argument, ["-c", script, *said])])
    unit = (
        "[Service]\nType=oneshot\n"
        f"LoadCredential=secret:{whole(secret)}\n"
        f"ExecStart={program(folder / 'pyt hon')} --version\n"
        f"ExecStart={line}\nStandardOutput=file:/mnt/given/said.json\n"
    )
    add_unit(machine, "odd", unit)
    machine.ok("systemctl", "start", "odd")
    *_, last = machine.ok("cat", "/mnt/given/said.json").splitlines()
    assert json.loads(last) == [said, "x y\n"]
