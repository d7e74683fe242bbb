"""Pulling in this process, and judging what came of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.events import Emit, Event, FileDone, SourceBanned
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.fetch.source_state import METADATA_PATIENCE, Patience
from outlast.fetch.transfer import Wishes
from outlast.fetch.tuning import Tuning
from outlast.intake.form_policy import PLAIN, FormWishes
from outlast.ops import pull as ops
from outlast.ops.verify import verify
from outlast.sources.base import Source
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.kinds import in_order, open_source
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import TUNING as SOURCES
from outlast.sources.tuning import Tuning as SourcesTuning
from outlast.store.archive import Archive
from tests.hubsim import HubSim
from tests.hubsim.log import LogEntry
from tests.noise import noise

MIB = 1 << 20
QUICK = Tuning(first_wait=0.02, hedge_after=0.5)
BIG = "model.safetensors"
FILES: dict[str, bytes] = {
    "config.json": b'{"hidden_size": 64}',
    "README.md": b"# A model\n",
    "sub/tokenizer.json": bytes(range(256)) * 300,
    "empty.txt": b"",
    "small.bin": noise(11, MIB + 77),
    BIG: noise(2, 11 * MIB + 12345),
}
TOTAL = sum(map(len, FILES.values()))


@dataclass(slots=True)
class Puller:
    """Pulls into one archive, with little patience: our own waits are short, and what a server
    asks for is granted in full. Collects the events.
    """

    home: Path
    connections: int = 4
    tries: int = 3
    read_timeout: float = 10.0
    rate: int = 0
    forms: FormWishes = PLAIN
    tokens: Mapping[str, str] = field(default_factory=dict)
    sources: SourcesTuning = SOURCES
    tuning: Tuning = QUICK
    listener: Emit | None = None
    events: list[Event] = field(default_factory=list)

    def __call__(
        self,
        target: str,
        *urls: str,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        dry_run: bool = False,
    ) -> ops.Pulled:
        http = HttpClient(HttpSettings(read_timeout=self.read_timeout), tuning=self.sources)
        with Archive(self.home, create=True) as archive:
            return ops.pull(
                archive,
                Target.parse(target),
                in_order((url, self._source(http, url)) for url in urls),
                selection=Selection(include, exclude),
                wishes=Wishes(
                    connections=self.connections,
                    rate=self.rate,
                    patience=Patience(self.tries, tuning=QUICK),
                    forms=self.forms,
                    metadata_patience=replace(METADATA_PATIENCE, tuning=QUICK),
                    tuning=self.tuning,
                ),
                control=Control(self._emit),
                dry_run=dry_run,
            )

    def _source(self, http: HttpClient, url: str) -> Source:
        if "+" in url:
            return open_source(http, url, self.tokens.get(url))
        return HubSource(http, url, self.tokens.get(url), self.sources)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        if self.listener is not None:
            self.listener(event)

    @property
    def done(self) -> set[str]:
        """The paths that were acknowledged."""
        return {event.path for event in self.events if isinstance(event, FileDone)}

    @property
    def banned(self) -> set[str]:
        return {event.source for event in self.events if isinstance(event, SourceBanned)}


def check_archive(home: Path) -> None:
    """Nothing in the archive is damaged or dangling, as we say and as sha256 says."""
    with Archive(home) as archive:
        report = verify(archive, [], quarantine=False, control=Control())
    assert report.problems == (), report.problems
    with Archive(home) as archive:
        for path in home.glob("capsules/*/*"):
            digest = Digest(path.stem)
            with archive.open_blob(digest) as blob:
                assert blob.sha256() == digest
    for path in home.glob("blobs/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def contents(home: Path, target: str = "org/name") -> dict[str, bytes]:
    """The files of a revision, by path, as they lie in the archive."""
    parsed = Target.parse(target)
    found = {}
    with Archive(home) as archive:
        for entry in archive.revision(parsed.repo, parsed.ref).files:
            assert entry.sha256 is not None
            with archive.open(entry.sha256) as file:
                found[entry.path] = file.read()
    return found


def check_pulled(home: Path, files: Mapping[str, bytes] = FILES, target: str = "org/name") -> None:
    """The archive is sound and holds just `files` of `target`."""
    check_archive(home)
    found = contents(home, target)
    assert found.keys() == files.keys()
    assert [path for path in files if files[path] != found[path]] == []


def has_blob(home: Path, data: bytes) -> bool:
    """In whichever form."""
    with Archive(home) as archive:
        return archive.has(Digest.of(data), len(data))


def sent(hub: HubSim, file: str | None = None) -> int:
    """Bytes of files that the hub and its CDN sent, of one file or of all."""
    answers = [entry for entry in file_requests(hub) if entry.status in {200, 206}]
    return sum(entry.sent for entry in answers if file in (None, entry.file))


def file_requests(hub: HubSim) -> list[LogEntry]:
    return [entry for entry in hub.requests() if entry.what in {"resolve", "cdn"}]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
