"""A hub that withdraws, an archive that watches it, and a clock that tests set."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from outlast.core.control import Control
from outlast.core.events import Event
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change
from outlast.features.watch.follows import parse_follows
from outlast.features.watch.holdings import HeldModels
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.asking import Context
from outlast.features.watch.polls.hub_pass import Rules
from outlast.features.watch.watch import Archiver, Lookout, Teller, watch_once
from outlast.sources.http import HttpClient
from outlast.sources.hub_watch import HubWatch
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim

TOKEN = "hf_right"
DAY = 86400.0
START = 1_900_000_000.0
CARD = b"---\nlicense: mit\n---\n# A model\n"
FILES = {
    "README.md": CARD,
    "LICENSE": b"You may.\n",
    "config.json": b"{}",
    "model.safetensors": b"w" * 5000,
}


@dataclass
class Heard:
    """A channel that remembers; `fails` makes it fail."""

    name: str = "heard"
    told: list[Change] = field(default_factory=list)

    def tell(self, changes: Sequence[Change]) -> None:
        self.told += changes


@dataclass
class World:
    """What a test moves. `poll` lets a period pass and looks once."""

    hub: HubSim
    archive: Archive
    memory: Memory
    watch: HubWatch
    follows: str = "org/name\n"
    rules: Rules = field(default_factory=Rules)
    now: float = START
    channels: Sequence[Teller] = ()
    archiver: Archiver | None = None
    events: list[Event] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)

    @property
    def root(self) -> Path:
        return self.hub.root

    def repo(self, name: str = "org/name") -> HubRepo:
        return HubRepo(self.root, name)

    def make(self, *names: str) -> None:
        """Models that nothing happened to yet."""
        for name in names:
            repo = HubRepo(self.root, name)
            repo.configure(card={"license": "mit"})
            repo.commit({"config.json": b"{}"})
            repo.commit(FILES, tags=["v1"])

    def context(self) -> Context:
        return Context(
            self.memory, Control(self.events.append), lambda: self.now, lambda _seconds: None
        )

    def watcher(self) -> Lookout:
        return Lookout(
            context=self.context(),
            hubs=[self.watch],
            follows=lambda: parse_follows(self.follows.encode(), "follows.txt", ""),
            holdings=HeldModels(self.archive),
            rules=self.rules,
            channels=[self.heard],
            archiver=self.archiver,
        )

    def poll(self, after: float = DAY) -> list[Change]:
        """What is noticed in one pass, `after` so many seconds."""
        self.now += after
        found: list[Change] = []
        watch_once(self.watcher(), found.append)
        return found

    def kinds(self, after: float = DAY) -> list[str]:
        return sorted(str(change.kind) for change in self.poll(after))

    def requests(self, what: str | None = None) -> int:
        """That the hub got since the log was cleared."""
        entries = self.hub.requests() if what is None else self.hub.requests(what=what)
        return len(entries)

    def model(self, name: str = "org/name") -> RepoId:
        return RepoId.parse(name)


@contextmanager
def open_world(folder: Path, *, token: str | None = TOKEN) -> Iterator[World]:
    """A hub with the model org/name, which is followed; nothing was looked at yet."""
    with ExitStack() as stack:
        root = folder / "hub"
        root.mkdir()
        hub = stack.enter_context(
            HubSim(root, mode="thread", token=TOKEN, limited_token="hf_limited")
        )
        http = stack.enter_context(HttpClient(HttpSettings(read_timeout=20)))
        archive = stack.enter_context(Archive(folder / "home", create=True))
        memory = stack.enter_context(Memory.open(folder / "home"))
        world = World(hub, archive, memory, HubWatch(http, hub.url, token))
        world.make("org/name")
        yield world
