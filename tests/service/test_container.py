"""The Containerfile and the compose file: each step is run here, without a builder and its images:
what is copied builds and installs, what the image starts serves, and its health check tells.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outlast.cli.serve import serve as serve_command
from tests.campaign import LONG
from tests.cli.call import environment, until
from tests.hubsim.ask import ask
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
BIN = Path(sys.executable).parent


def steps() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, and what follows each."""
    text = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def of(kind: str) -> list[str]:
    return [rest for name, rest in steps() if name == kind]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the repository from the builder: the last line that
    matches it, or a folder above it, decides.
    """
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        above = [path, *map(str, Path(path).parents)][:-1]
        plain = pattern.removeprefix("**/")
        names = [Path(each).name for each in above] if pattern.startswith("**/") else above
        if any(fnmatch.fnmatchcase(name, plain) for name in names):
            out = not line.startswith("!")
    return out


def copied() -> list[str]:
    """What the builder takes from the repository."""
    found = []
    for line in of("COPY"):
        if not line.startswith("--from="):
            found += line.split()[:-1]
    return found


def test_what_is_copied_is_there() -> None:
    assert len(copied()) > 5
    for path in copied():
        assert (ROOT / path).exists(), path
        assert not ignored(path), path
    for secret in (".git", ".venv", "tests/cli/call.py", ".env", "src/outlast/__pycache__"):
        assert ignored(secret), secret


def test_it_keeps_to_the_rules_for_images() -> None:
    [user] = of("USER")
    assert user.split(":")[0].isdecimal()
    assert int(user.split(":")[0]) > 0
    assert of("VOLUME") == ["/data"]
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert "OUTLAST_HOME=/data" in of("ENV")[0]
    names = [name for name, _ in steps()]
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN")
    assert not re.search(r"(?i)token|secret|password", (ROOT / "Containerfile").read_text())


@pytest.fixture
def image(tmp_path: Path) -> tuple[list[str], dict[str, str], int]:
    """The image's command on a free port, its environment, and the port."""
    (tmp_path / "data").mkdir()  # the image has it
    port = free_port()
    words = [*json.loads(of("ENTRYPOINT")[0]), *json.loads(of("CMD")[0])]
    assert "0.0.0.0:8090" in words
    words = [word.replace("0.0.0.0:8090", f"127.0.0.1:{port}") for word in words]
    env = environment(tmp_path)
    env["PATH"] = f"{BIN}{os.pathsep}{env['PATH']}"
    del env["OUTLAST_SWARM"]  # the command says it
    for word in of("ENV")[0].split():
        name, _, value = word.partition("=")
        if name != "PATH":
            env[name] = value.replace("/data", str(tmp_path / "data"))
    return words, env, port


def test_it_serves_and_its_health_check_tells(
    image: tuple[list[str], dict[str, str], int], tmp_path: Path
) -> None:
    words, env, port = image
    check = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])

    def healthy() -> bool:
        done = subprocess.run(
            [word.replace(":8090", f":{port}") for word in check],
            env=env, capture_output=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        return done.returncode == 0

    assert not healthy()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=log)
    try:
        until(lambda: healthy() or process.poll() is not None, "it is healthy", SECONDS)
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert ask(f"http://127.0.0.1:{port}", "/api/models").body == b"[]"
        assert (tmp_path / "data" / "outlast.json").exists()
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert not healthy()
    finally:
        process.kill()
        process.wait()


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="compiles the kernels anew")
def test_the_build(tmp_path: Path) -> None:
    """The steps of the build stage, with only what it copies: in folders of the test's own, with
    this machine's compiler, and without what others made of the index.
    """
    place = {"/src": tmp_path / "src", "/wheels": tmp_path / "wheels", "/opt": tmp_path / "opt"}
    place["/src"].mkdir()
    for path in copied():
        to = place["/src"] / path
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / path, to)
    for line in of("RUN"):
        if line.startswith(("apt-get ", "install ")):
            continue  # of the image's own system
        here = re.sub(r"(?<![\w.])(/src|/wheels|/opt)", lambda found: str(place[found[1]]), line)
        words = shlex.split(here)
        if words[0] == "python":
            words[0] = sys.executable
        done = subprocess.run(
            words, cwd=place["/src"], capture_output=True, text=True, check=False, timeout=1500
        )
        assert done.returncode == 0, (line, done.stderr[-3000:])
    done = subprocess.run(
        [place["/opt"] / "outlast" / "bin" / "outlast", "guide", "operate"],
        env=environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("# Operate a node")


def test_compose() -> None:
    """A mirror for this machine alone, with as little as it needs."""
    yaml = pytest.importorskip("yaml")
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    [(name, service)] = document["services"].items()
    assert service["hostname"] == name  # so that other containers may ask it by this name
    assert service["build"]["dockerfile"] == "Containerfile"
    first, *words = service["command"]
    assert first == serve_command.name
    context = serve_command.make_context("serve", list(words), help_option_names=["-h", "--help"])
    assert context.params["listen"] == "0.0.0.0:8090"
    assert context.params["urls"] == ("https://huggingface.co",)
    [port] = service["ports"]
    assert port.startswith("127.0.0.1:")
    assert port.endswith(f":{of('EXPOSE')[0]}")
    [volume] = service["volumes"]
    assert volume.partition(":")[0] in document["volumes"]
    assert [volume.partition(":")[2]] == of("VOLUME")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]  # noqa: S108 - of the container
