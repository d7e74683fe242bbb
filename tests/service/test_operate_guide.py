"""What the guide to operating a node says: its commands are run, its proxies proxy, its figures and
its lines of the log are those of the server, and its copies of a running archive are whole.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from outlast.core.control import Control
from outlast.ops.verify import verify
from outlast.store.archive import Archive
from tests.cli.call import inside, until
from tests.hubsim import HubRepo, HubSim
from tests.hubsim.ask import ask
from tests.noise import noise
from tests.ports import free_port
from tests.pull.kit import MIB, check_archive, contents
from tests.serve.node import Node, pull
from tests.warm.calls import end_all, finish, start

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "operate.md").read_text()
BIG = noise(5, 24 * MIB)
FILES = {"config.json": b'{"a": 1}', "big.bin": BIG}
NAME = "models.example"
SECONDS = 60.0


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found, language
    return found


def commands(language: str) -> list[tuple[str, list[str]]]:
    """Each command of such blocks, with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in "\n".join(blocks(language)).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line:
            found[-1][1].append(line)
    return found


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES, refs=["main"])
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        yield hub
    end_all()


def test_the_commands_of_services(tmp_path: Path) -> None:
    """As far as writing the units goes, and in a folder of the test's own: they print the same."""
    (tmp_path / "models.txt").write_text("org/name\n")
    done = 0
    for line, shown in commands("console"):
        words = [word for word in shlex.split(line) if word != "sudo"]
        if words[:3] != ["outlast", "service", "install"]:
            continue
        done += 1
        if "--print" in words:
            assert "ExecStart=" in inside(*words[1:], home=tmp_path).ok().out
            continue
        # A service of the user's: the system's asks for a program that all users can read.
        call = inside(*words[1:3], "--user", "--unit-dir", "units", *words[3:], home=tmp_path).ok()
        *paths, now = shown
        assert [Path(path).name for path in paths] == [Path(p).name for p in call.out.splitlines()]
        assert now == call.err.strip().replace("systemctl --user", "systemctl")
    assert done == 3


def test_each_systemctl_command_is_one_that_we_print(tmp_path: Path) -> None:
    for unit in ("outlast.service", "outlast-sync.timer"):
        assert f"systemctl daemon-reload && systemctl enable --now {unit}" in GUIDE
    text = inside("service", "--help", home=tmp_path).ok().out
    assert "/etc/outlast/config.toml" in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_score(tmp_path: Path) -> None:
    text = inside("service", "install", "--print", home=tmp_path).ok().out
    scores = []
    for home in ("yes", "read-only"):
        unit = tmp_path / "outlast.service"
        unit.write_text(
            re.sub(r"^ProtectHome=.*$", f"ProtectHome={home}", text, flags=re.MULTILINE)
        )
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = re.search(r"exposure level for outlast.service: ([0-9.]+)", done.stdout)
        assert found is not None, done.stderr
        scores.append(found[1])
    assert f"**{scores[0]}** of 10" in GUIDE
    assert f"{scores[1]} if outlast lies in a home folder" in GUIDE


# Proxies


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    pem, key = tmp_path / "cert.pem", tmp_path / "cert.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
         "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem, key


@pytest.fixture
def node(tmp_path: Path, hub: HubSim) -> Iterator[Node]:
    with Node(tmp_path / "archive", "--host", NAME, "--upstream", hub.url) as node:
        yield node


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def curl(port: int, certificate: Path, path: str, *more: str) -> list[str]:
    """A request through the proxy, as by a client that knows its name."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    words = ["curl", "--silent", "--show-error", "--http1.1", "--cacert", str(certificate)]
    words += ["--noproxy", "*", "--resolve", f"{NAME}:{port}:127.0.0.1"]
    words += ["--speed-limit", "1", "--speed-time", f"{SECONDS:.0f}"]  # silence alone is in vain
    return [*words, *more, f"https://{NAME}:{port}{path}"]


def through(port: int, certificate: Path, path: str, *more: str) -> bytes:
    """The answer to it."""
    words = curl(port, certificate, path, *more)
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_proxy(port: int, certificate: Path, node: Node, hub: HubSim) -> None:
    """Files come through as they are, parts of them too, by the proxy's name; and bytes arrive
    while the mirror still fetches the file.
    """
    path = "/org/name/resolve/main/big.bin"
    hub.set_faults([{"action": "stall", "at": 20 * MIB, "file": "big.bin"}])
    with subprocess.Popen(curl(port, certificate, path), stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        came = client.stdout.read(12 * MIB)  # which is less if the proxy keeps what it has
        client.kill()
    assert len(came) == 12 * MIB
    assert came == BIG[: len(came)]
    hub.set_faults([])
    assert through(port, certificate, path) == BIG
    part = through(port, certificate, path, "--range", "5000000-5000099", "--include")
    assert part.startswith(b"HTTP/1.1 206")
    assert part.endswith(BIG[5000000:5000100])
    assert through(port, certificate, "/org/name/resolve/main/config.json") == b'{"a": 1}'
    known = through(port, certificate, "/api/models/org/name", "--include")
    assert known.startswith(b"HTTP/1.1 200")
    assert {line["peer"] for line in node.access() if "peer" in line} == {"127.0.0.1"}


def test_nginx(tmp_path: Path, certificate: tuple[Path, Path], node: Node, hub: HubSim) -> None:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    pem, key = certificate
    port = free_port()
    [server] = blocks("nginx")
    for old, new in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/models.example.pem", str(pem)),
        ("/etc/ssl/models.example.key", str(key)),
        ("http://127.0.0.1:8090", node.url),
    ):
        assert old in server
        server = server.replace(old, new)
    folder = tmp_path / "nginx"
    folder.mkdir()
    temp = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                     ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off; {temp}\n{server}\n}}\n"
    )
    process = subprocess.Popen([program, "-e", "error.log", "-p", folder, "-c", "nginx.conf"])
    try:
        until(lambda: listens(port) or process.poll() is not None, "nginx listens", SECONDS)
        assert process.poll() is None, (folder / "error.log").read_text()
        check_proxy(port, pem, node, hub)
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_caddy(tmp_path: Path, certificate: tuple[Path, Path], node: Node, hub: HubSim) -> None:
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed")
    pem, key = certificate
    port = free_port()
    [site] = blocks("caddy")
    assert "127.0.0.1:8090" in site
    site = site.replace("127.0.0.1:8090", node.url.removeprefix("http://"))
    site = site.replace(f"{NAME} {{", f"{NAME}:{port} {{\n\ttls {pem} {key}\n\tbind 127.0.0.1", 1)
    (tmp_path / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{site}")
    env = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "caddy"),
           "XDG_CONFIG_HOME": str(tmp_path / "caddy")}  # fmt: skip
    with (tmp_path / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "run", "--config", "Caddyfile"], cwd=tmp_path, env=env, stderr=log
        )
    try:
        until(lambda: listens(port) or process.poll() is not None, "caddy listens", SECONDS)
        assert process.poll() is None, (tmp_path / "caddy.log").read_text()
        check_proxy(port, pem, node, hub)
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_a_name_that_it_was_not_told(node: Node) -> None:
    assert node.get("/api/models/org/name", host=NAME).status == 200
    assert node.get("/api/models/org/name", host="other.example").status == 421


def test_a_client_cannot_choose_its_address(node: Node) -> None:
    """So that clients of a proxy count as one, and none passes for another."""
    node.get("/healthz", **{"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7"})
    assert {line["peer"] for line in node.access() if "peer" in line} == {"127.0.0.1"}


# Watching


def test_health_by_curl(node: Node) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    [(line, shown)] = [(c, s) for c, s in commands("console") if c.startswith("curl")]
    words = shlex.split(line.replace("http://127.0.0.1:8090", node.url))
    done = subprocess.run([words[0], "--silent", "--noproxy", "*", *words[1:]],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.splitlines() == shown


def test_the_figures_are_there(node: Node) -> None:
    named = set(re.findall(r"`(outlast_\w+)`", GUIDE))
    assert len(named) > 8
    text = node.get("/metrics").body.decode()
    there = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    assert named <= there
    [config] = blocks("yaml")
    yaml = pytest.importorskip("yaml")
    [job] = yaml.safe_load(config)["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8090"]}]


def test_the_figures_of_a_hub_begin_at_0(hub: HubSim, tmp_path: Path) -> None:
    with Node(tmp_path / "new", "--upstream", hub.url) as mirror:
        text = mirror.get("/metrics").body.decode()
    for name in ("upstream_bytes", "sources_banned", "source_waits"):
        assert f'outlast_{name}_total{{source="{hub.url}"}} 0.0\n' in text


def test_a_line_of_the_log(node: Node) -> None:
    [sample] = blocks("json")
    node.get("/org/name/resolve/main/config.json", **{"User-Agent": "hf/2.4"})
    until(lambda: [line for line in node.access() if line.get("what") == "resolve"], "a line")
    [line] = [line for line in node.access() if line.get("what") == "resolve"]
    said: dict[str, Any] = json.loads(sample)
    assert list(said) == list(line)
    same = ("peer", "method", "path", "what", "status", "bytes", "user-agent")
    assert {name: said[name] for name in same} == {name: line[name] for name in same}


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq here")
def test_the_command_that_reads_the_log(node: Node) -> None:
    """The journal has stdout and stderr: also the lines of a start that are for people."""
    found = re.search(r"`journalctl -u outlast -o cat \| (jq [^`]+)`", GUIDE)
    assert found is not None
    node.get("/org/name/resolve/main/config.json")
    until(node.access, "a line")
    lines = node.lines()
    assert any(line.startswith("serving ") for line in lines)
    journal = "\n".join([node.url, *lines, ""])
    read = [*shlex.split(found[1]), "--compact-output"]
    done = subprocess.run(read, input=journal, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        json.loads(line) for line in lines if line.startswith("{")
    ]


# Backup


def backup(source: Path, target: Path) -> list[list[str]]:
    """The guide's commands, for these folders."""
    found = []
    for line, _ in commands("console backup"):
        here = line.replace("/var/lib/outlast", str(source))
        found.append(shlex.split(here.replace("/backup/outlast", str(target))))
    return found


def check_whole(home: Path) -> int:
    """All that a ref names is there and intact, but for what was arriving, which counts as partial;
    the number of refs to complete revisions.
    """
    count = 0
    with Archive(home) as archive:
        report = verify(archive, [], quarantine=False, control=Control())
        assert report.problems == (), [str(problem) for problem in report.problems]
        for repo in archive.refs.repos():
            for ref in archive.refs.list(repo):
                revision = archive.load(repo, ref.commit)
                assert revision is not None, (repo, ref)
                assert not revision.partial or archive.drafts.exists(repo, ref.commit)
                count += not revision.partial
                assert all(archive.holds(entry) for entry in revision.files), (repo, ref)
    return count


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_copies_of_a_running_archive_are_whole(hub: HubSim, tmp_path: Path) -> None:
    """While models arrive, one after the other, all files that a copied model has are there."""
    rng = Random(8)
    for number in range(40):
        files = {"a.bin": rng.randbytes(40_000), "b.json": b"{%d}" % number}
        HubRepo(hub.root, f"many/m{number}").commit(files, refs=["main"])
    names = ["org/name", *(f"many/m{number}" for number in range(40))]
    (tmp_path / "models.txt").write_text("\n".join(names))
    home = tmp_path / "archive"
    inside("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
    process = start("sync", "-f", tmp_path / "models.txt", "--from", hub.url, home=tmp_path)
    counts: list[int] = []
    ended = False
    while not ended:
        ended = process.poll() is not None  # then one copy more, of the whole
        target = tmp_path / f"copy-{len(counts)}"
        for words in backup(home, target)[:-1]:
            done = subprocess.run(words, capture_output=True, check=False)
            # 24: a file was gone again, as the draft of a model that is complete now.
            assert done.returncode in {0, 24}, done.stderr
        counts.append(check_whole(target))
        assert "1" in inside("ls", "--home", target, home=tmp_path).ok().out
    finish(process).ok()
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == len(names), "no copy was made while models arrived"
    last = tmp_path / f"copy-{len(counts) - 1}"
    assert contents(last, "org/name") == FILES


def test_the_backup_ends_with_a_check(tmp_path: Path) -> None:
    *_, last = backup(tmp_path / "archive", tmp_path / "copy")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_bytes(b"a")
    inside("add", tmp_path / "folder", "--as", "me/mine", home=tmp_path).ok()
    subprocess.run(["cp", "-a", tmp_path / "archive", tmp_path / "copy"], check=True)
    assert last[0] == "outlast"
    assert "all intact" in inside(*last[1:], home=tmp_path).ok().out
    [blob] = [path for path in (tmp_path / "copy" / "blobs").rglob("*") if path.is_file()]
    blob.chmod(0o600)
    blob.write_bytes(b"b")
    assert inside(*last[1:], home=tmp_path).code == 4


def test_restic(tmp_path: Path) -> None:
    if not shutil.which("restic"):
        pytest.skip("restic is not installed")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_bytes(b"a")
    inside("add", tmp_path / "folder", "--as", "me/mine", home=tmp_path).ok()
    env = {**os.environ, "RESTIC_PASSWORD": "a password", "HOME": str(tmp_path)}

    def restic(line: str) -> None:
        here = line.replace("/backup/restic", str(tmp_path / "restic"))
        words = shlex.split(here.replace("/backup/outlast", str(tmp_path / "archive")))
        done = subprocess.run(words, env=env, capture_output=True, check=False, timeout=SECONDS)
        assert done.returncode == 0, done.stderr

    for line, _ in commands("console restic"):
        restic(line)
    shutil.move(tmp_path / "archive", tmp_path / "gone")
    restic("restic restore --repo /backup/restic latest --target /")
    assert contents(tmp_path / "archive", "me/mine") == {"a.txt": b"a"}
    check_archive(tmp_path / "archive")


def test_the_copy_can_be_served(hub: HubSim, tmp_path: Path) -> None:
    """What serves it is the copy's own: nothing of the original is needed."""
    pull(tmp_path / "archive", hub.url, "org/name")
    subprocess.run(["cp", "-a", tmp_path / "archive", tmp_path / "copy"], check=True)
    shutil.rmtree(tmp_path / "archive")
    with Node(tmp_path / "copy") as node:
        assert ask(node.url, "/org/name/resolve/main/config.json").body == FILES["config.json"]
