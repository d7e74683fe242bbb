"""The swarm's story: five nodes on one LAN, one of which got a model from a hub. Then the hub goes
dark, and that node too. Exit status 0 only if every step held.
"""

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from demo.sites import Machine, Site, open_site
from demo.story import StepFailedError, megabytes, require, say
from outlast.core.names import RepoId
from outlast.node.status_client import ask_nodes
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim
from tests.net import LabError
from tests.net.program import environment
from tests.realweights import minilm_bf16, minilm_vocabulary

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
LINE = 10_000_000
_SECONDS = 90.0


class Node:
    """An archive on a machine, and the process that serves it."""

    def __init__(self, machine: Machine, hub: str) -> None:
        self.machine = machine
        self.name = machine.name
        self.home = machine.folder / "archive"
        self._hub = hub
        self.server: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts a command; its environment has a home folder, and the hub in place of the public
        one.
        """
        own = {"HF_ENDPOINT": self._hub, "OUTLAST_HOME": str(self.home)}
        env = environment(self.machine.folder, own | dict(self.machine.environment))
        line = [sys.executable, "-m", "outlast", *arguments, "--json"]
        log = self.machine.folder / f"{arguments[0]}.log"
        with self.machine.inside(), log.open("ab") as errors:
            return subprocess.Popen(
                line, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                text=True,
            )  # fmt: skip

    def log(self, command: str) -> str:
        """The end of what a command complained about."""
        return (self.machine.folder / f"{command}.log").read_text()[-1000:]

    def serve(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)  # a node that has nothing yet
        self.server = self.start("serve", "--listen", "127.0.0.1:0")

    def serves(self) -> None:
        """Waits until it does."""
        assert self.server is not None
        assert self.server.stdout is not None
        if "serving" not in self.server.stdout.readline():
            raise StepFailedError(f"{self.name} does not serve: {self.log('serve')}")

    def pulled(self, process: "subprocess.Popen[str]") -> dict[str, int]:
        """How many bytes each source gave to a pull, which must end well."""
        out, _ = process.communicate(timeout=_SECONDS)
        if process.returncode != 0:
            raise StepFailedError(f"the pull on {self.name} failed: {self.log('pull')}")
        found: dict[str, int] = json.loads(out.splitlines()[-1])["fetched"]
        return found

    def sent(self) -> int:
        """Bytes that its server gave to others, as it says itself."""
        nodes = [n for n in ask_nodes(self.home).nodes if n.command == "serve"]
        if len(nodes) != 1:
            raise StepFailedError(f"{self.name} does not say how it is")
        return nodes[0].sent

    def contents(self) -> str:
        """The sha256 of the weights as its archive gives them back."""
        total = hashlib.sha256()
        with Archive(self.home) as archive:
            revision = archive.revision(RepoId.parse(MODEL))
            (digest,) = (entry.sha256 for entry in revision.files if entry.path == WEIGHTS)
            assert digest is not None
            with archive.open_blob(digest) as blob:
                for chunk in blob.chunks():
                    total.update(chunk)
        return total.hexdigest()

    def kill(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGKILL)
            self.server.communicate()
            self.server = None


class Givers:
    """Turns the names of sources into those of the story."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._by_address: dict[str, str] = {}
        for node in nodes:
            address = node.machine.address
            port = node.machine.environment.get("OUTLAST_PEER_PORT", "8091")
            self._by_address[f"{address}:{port}"] = node.name
            # Side by side on one machine all have one address, and the swarm knows no other name.
            known = self._by_address.setdefault(address, node.name)
            self._by_address[address] = node.name if known == node.name else "swarm"
            self._by_address |= dict.fromkeys(node.machine.aliases, node.name)

    def name(self, source: str) -> str:
        _, space, address = source.partition(" ")
        if not space:
            return "hub"
        known = self._by_address
        return known.get(address) or known.get(address.rpartition(":")[0]) or "others"

    def named(self, fetched: dict[str, int]) -> dict[str, int]:
        """How much each gave, where it gave anything."""
        found: dict[str, int] = {}
        for source, count in fetched.items():
            if count:
                name = self.name(source)
                found[name] = found.get(name, 0) + count
        return found


def table(rows: dict[str, dict[str, int]]) -> list[str]:
    """Who got what from whom, in MB."""
    givers = sorted({g for row in rows.values() for g in row}, key=lambda g: (g != "hub", g))
    head = ["MB", *(f"from {giver}" for giver in givers), "in all"]
    lines = [head]
    for name, row in rows.items():
        counts = [row.get(giver, 0) for giver in givers]
        cells = [f"{count / 1e6:.1f}" if count else "-" for count in counts]
        lines.append([f"{name} got", *cells, f"{sum(counts) / 1e6:.1f}"])
    sums = [sum(row.get(giver, 0) for row in rows.values()) for giver in givers]
    lines.append(["given", *(f"{count / 1e6:.1f}" for count in sums), f"{sum(sums) / 1e6:.1f}"])
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return [
        "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]


@contextlib.contextmanager
def hub_on(machine: Machine) -> Iterator[HubSim]:
    """A stand-in hub that has the model."""
    repo = HubRepo(machine.folder / "hub", MODEL)
    card = b"---\nlicense: apache-2.0\n---\n# MiniLM in bf16\n"
    repo.commit({WEIGHTS: minilm_bf16(), "vocab.txt": minilm_vocabulary(), "README.md": card})
    hub = HubSim(machine.folder / "hub", host=machine.address)
    with machine.inside():
        hub.start()
    try:
        yield hub
    finally:
        hub.stop()


def tell(story: Site) -> list[str]:
    """All of it; the table of who gave what."""
    say("13. A hub, and five machines on one LAN: A, B, C, D, and E, which comes later")
    say(f"    {story.told}")
    with hub_on(story.machine("hub")) as hub:
        nodes = [Node(story.machine(name, up=LINE), hub.url) for name in "ABCDE"]
        try:
            return tell_of(nodes, hub, together=story.elects)
        finally:
            for node in nodes:
                node.kill()


def tell_of(nodes: Sequence[Node], hub: HubSim, *, together: bool) -> list[str]:
    a, *others, late = nodes
    givers = Givers(nodes)
    got: dict[str, dict[str, int]] = {}
    say(f"    A $ outlast pull {MODEL}")
    got["A"] = givers.named(a.pulled(a.start("pull", MODEL)))
    size = got["A"]["hub"]
    require(size > 45_000_000, f"A has it from the hub: {megabytes(size)}")
    say("    A, B, C, D $ outlast serve")
    for node in (a, *others):
        node.serve()
    for node in (a, *others):
        node.serves()
    held = a.home / "capsules"
    copy = sum(path.stat().st_size for path in held.rglob("*.olc"))
    say(f"14. B, C and D want it at once; A holds it in {megabytes(copy)}; all lines take 10 MB/s")
    say(f"    B, C, D $ outlast pull {MODEL}")
    began = time.monotonic()
    pulls = [node.start("pull", MODEL) for node in others]
    for node, pull in zip(others, pulls, strict=True):
        got[node.name] = givers.named(node.pulled(pull))
    took = time.monotonic() - began
    require(all(node.contents() == a.contents() for node in others), "they have the same bytes")
    given = a.sent()
    if together:
        text = f"A gave {given / copy:.2f} copies for three nodes: the rest they gave each other"
        require(given < 2.5 * copy, text)
    again = sum(got[node.name].get("hub", 0) for node in others)
    require(again < 0.05 * size, f"no node fetched the weights from the hub again, {took:.1f} s")

    say("15. The hub goes dark; then A, too")
    hub.stop()
    before = a.contents()
    a.kill()
    say("    A: kill -9")

    say("16. E comes and wants it")
    say(f"    E $ outlast pull {MODEL} --from lan")
    began = time.monotonic()
    row = givers.named(late.pulled(late.start("pull", MODEL, "--from", "lan")))
    got["E"] = row
    took = time.monotonic() - began
    shares = ", ".join(f"{megabytes(count)} from {name}" for name, count in sorted(row.items()))
    alive = {node.name for node in others}
    require(len(row) > 1 and row.keys() <= alive, f"E has it, {shares}, {took:.1f} s")
    require(sum(node.sent() for node in others) >= sum(row.values()), "their own counts agree")
    require(late.contents() == before, f"E's bytes are A's: sha256 {before[:16]}…")
    return table(got)


def main() -> int:
    began = time.monotonic()
    try:
        with open_site() as site:
            lines = tell(site)
    except (StepFailedError, LabError, subprocess.TimeoutExpired) as error:
        say(f"FAILED: {error}")
        return 1
    say()
    for line in lines:
        say(f"    {line}")
    say(f"    every byte was checked before it counted; {time.monotonic() - began:.0f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
