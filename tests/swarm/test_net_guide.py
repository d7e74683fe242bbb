"""Every command of the guide to sharing does what it says there: word for word, on five machines
of which one is at another site. And each configuration in it is valid. Likewise what the README
does on a second machine.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from outlast.cli.config.file import load_config
from tests.campaign import LONG
from tests.codec.files import of_gguf
from tests.hubsim import HubRepo, HubSim
from tests.net import Host, Net, needs_lab
from tests.net.program import Program, environment, until
from tests.realweights import WeightsUnavailableError, smollm2_gguf

TOP = Path(__file__).parents[2]
GUIDE, README = TOP / "docs" / "guide" / "share.md", TOP / "README.md"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF"
SECONDS = 120.0
_Q4_1_BLOCK = 20
"""Bytes of 32 weights."""
NAMED = "192.0.2.10"
"""How the guide calls the first machine."""
pytestmark = [pytest.mark.net]


def blocks(language: str) -> list[tuple[str, str]]:
    """The machine that each block is for, if any, and its text; in the order of the guide."""
    found = re.findall(rf"```{language} ?(\w*)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found


def steps(document: Path) -> Iterator[tuple[str, str, str]]:
    """What is done on which machine: a command, or a configuration to write."""
    pattern = r"```(console|toml) (\w+)\n(.*?)```"
    for kind, machine, text in re.findall(pattern, document.read_text(), re.DOTALL):
        if kind == "toml":
            yield machine, kind, text
        else:
            for line in text.splitlines():
                if line.startswith("$ "):
                    yield machine, kind, line[2:]


@pytest.mark.parametrize("text", [text for _, text in blocks("toml")])
def test_each_configuration_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    config = load_config({"OUTLAST_CONFIG": str(path), "HOME": str(tmp_path)})
    assert config.swarm.enabled


def test_every_command_is_on_a_machine() -> None:
    assert all(machine for machine, _ in blocks("console"))


class Reader:
    """Who follows the guide, on all machines."""

    def __init__(self, machines: dict[str, Host], hub: HubSim) -> None:
        self._machines = machines
        self._hub = hub
        self._magnet = ""
        self.said: dict[str, str] = {}
        """What each command printed, the last time."""

    def follow(self, document: Path) -> dict[str, str]:
        """Does all that a document says; what each command said."""
        for machine, kind, text in steps(document):
            if kind == "toml":
                self.configure(machine, text)
            else:
                self.do(machine, text)
        return self.said

    def configure(self, machine: str, text: str) -> None:
        path = self._machines[machine].folder / "config" / "outlast" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text.replace(NAMED, self._machines["one"].address))

    def do(self, machine: str, line: str) -> None:
        host = self._machines[machine]
        words = [self._word(word) for word in shlex.split(line)]
        assert words[0] == "outlast"
        env = environment(host.folder, {"HF_ENDPOINT": self._hub.url})
        program = host.outlast(words[1:], env)
        if words[1] == "serve":
            until(lambda: program.ended or program.out.read_text(), "it serves", SECONDS)
            program.check()
            return
        program.ok(SECONDS)
        assert program.out.read_text().strip(), program.tail()
        self._note(f"{machine}: {line}", program)

    def _word(self, word: str) -> str:
        if word.startswith("magnet:"):
            assert self._magnet
            return self._magnet
        word = word.replace("https://huggingface.co", self._hub.url)
        return word.replace(NAMED, self._machines["one"].address)

    def _note(self, line: str, program: Program) -> None:
        text = program.out.read_text()
        self.said[line] = text + program.err.read_text()
        if (found := re.search(r"^magnet:\S+", text, re.MULTILINE)) and not self._magnet:
            self._magnet = found[0]


def weights_below(folder: Path) -> Path:
    """A long run has the weights that the guide is about; else a file of their name and kind,
    which compresses as little, and is a tenth of their size.
    """
    if LONG:
        try:
            return smollm2_gguf()
        except WeightsUnavailableError as error:
            pytest.skip(str(error))
    rows, columns = 2048, 8192
    data = Random(1).randbytes(rows * columns // 32 * _Q4_1_BLOCK)
    path = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    path.write_bytes(of_gguf({"weight": ("Q4_1", (rows, columns), data)}))
    return path


@pytest.fixture
def machines() -> Iterator[tuple[dict[str, Host], HubSim, int]]:
    """The machines, a hub, and the bytes of its weights."""
    with Net() as net:
        weights = weights_below(net.folder)
        here, there = net.lan(), net.lan()
        net.wire(here, there)
        found = {name: here.host(name) for name in ("one", "two", "four", "five", "hub")}
        found["three"] = there.host("three")
        repo = HubRepo(net.folder / "files", MODEL)
        card = b"---\nlicense: apache-2.0\n---\n# SmolLM2 135M, as GGUF\n"
        repo.commit({weights.name: weights, "README.md": card}, refs=["main"])
        hub = HubSim(net.folder / "files", host=found["hub"].address)
        with found["hub"].inside():
            hub.start()
        yield found, hub, weights.stat().st_size
        hub.stop()


def names(host: Host, text: str, phrase: str = "{}") -> bool:
    """Whether `text` names the node at `host`, by the address that answered first."""
    addresses = (f"{host.address}:8091", f"[{host.address6}]:8091")
    return any(phrase.format(address) in text for address in addresses)


@pytest.mark.timeout(400)
@needs_lab()
def test_the_guide(machines: tuple[dict[str, Host], HubSim, int]) -> None:
    hosts, hub, size = machines
    said = Reader(hosts, hub).follow(GUIDE)
    searched = [text for line, text in said.items() if " search " in line]
    assert len(searched) == 2
    assert all(MODEL in text and names(hosts["one"], text) for text in searched)
    with hosts["hub"].inside():
        weights = [e for e in hub.requests() if e.file.endswith(".gguf")]
    assert sum(entry.sent for entry in weights) < 1.05 * size  # the first machine's copy
    assert "the publisher is unknown" in said["five: outlast show copies/smollm2"]


@pytest.mark.timeout(200)
@needs_lab()
def test_the_second_machine_of_the_readme(machines: tuple[dict[str, Host], HubSim, int]) -> None:
    hosts, hub, _ = machines
    reader = Reader(hosts, hub)
    reader.do("one", f"outlast pull {MODEL}")
    reader.do("one", "outlast serve")
    with hosts["hub"].inside():
        hub.stop()
    said = reader.follow(README)
    assert names(hosts["one"], said["two: outlast search smollm"])
    assert names(hosts["one"], said[f"two: outlast pull {MODEL} --from lan"], "as peer {} says")
