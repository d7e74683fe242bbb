"""Every command of the README does what it says there, against a hub that serves the same model
(a small part of it, unless `make torture` asks for all).
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign import LONG
from tests.gguf_cut import small_smollm2
from tests.hubsim import HubRepo, HubSim
from tests.realweights import WeightsUnavailableError, smollm2_gguf

README = Path(__file__).parents[2] / "README.md"
SECONDS = 250


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    root = tmp_path_factory.mktemp("hub")
    try:
        weights = smollm2_gguf() if LONG else small_smollm2(tmp_path_factory.mktemp("small"))
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    model = next(words[2] for words in commands() if words[:2] == ["outlast", "pull"])
    card = b"---\nlicense: apache-2.0\n---\n# SmolLM2 135M, as GGUF\n"
    HubRepo(root, model).commit({weights.name: weights, "README.md": card}, refs=["main"])
    with HubSim(root) as hub:
        yield hub


@pytest.mark.torture
def test_the_session_of_the_readme(hub: HubSim, tmp_path: Path) -> None:
    environment = dict(
        os.environ,
        OUTLAST_HOME=str(tmp_path / "archive"),
        HF_ENDPOINT=hub.url,
        HF_HOME=str(tmp_path / "hf"),
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )
    server: subprocess.Popen[str] | None = None
    seen = set()
    try:
        for words in commands():
            line = [word.replace("https://huggingface.co", hub.url) for word in words]
            if line[:2] == ["outlast", "serve"]:
                server = subprocess.Popen(
                    [*line, "--listen", "127.0.0.1:0"],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
                assert server.stdout is not None
                environment["HF_ENDPOINT"] = server.stdout.readline().strip()
                continue
            while "=" in line[0]:  # the server listens on another port here
                line = line[1:]
            if line[:2] == ["outlast", "run"]:  # two threads spin for each other on busy cores
                line += ["--threads", "1"]
            done = subprocess.run(
                line,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            assert done.returncode == 0, (line, done.stderr[-2000:])
            assert done.stdout.strip(), line
            seen.add(line[0] if line[0] != "outlast" else line[1])
    finally:
        if server is not None:
            server.terminate()
            server.communicate(timeout=30)
    assert {"pull", "ls", "verify", "run", "hf"} <= seen
