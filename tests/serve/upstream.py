"""What tests of the mirror need: large files, an archive that looks old, a client that resumes."""

import hashlib
import json
import random
from pathlib import Path
from urllib.parse import quote

from outlast.store.records.sealed import seal, unseal
from tests.hubsim import HubSim
from tests.hubsim.log import LogEntry
from tests.serve.wire import Reply, Wire

MIB = 1 << 20
OLD = "2020-01-01T00:00:00+00:00"


def weights(path: Path, size: int, seed: int = 1) -> bytes:
    """Writes a file of random bytes; what it holds."""
    data = random.Random(seed).randbytes(size)
    path.write_bytes(data)
    return data


def target(path: str, repo: str, revision: str = "main") -> str:
    """The path of a file's URL, quoted as clients do."""
    return f"/{repo}/resolve/{quote(revision, safe='')}/{quote(path)}"


def sha256(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def same(first: bytes | bytearray, second: bytes | bytearray) -> bool:
    """Whether they are equal; pytest would try to explain a difference of megabytes."""
    return first == second


def age_refs(home: Path, observed: str = OLD) -> None:
    """Lets every ref of an archive look as if it had been asked for years ago, or at `observed`. (A
    node that runs remembers by itself what it asked.)
    """
    for path in (home / "refs").rglob("*"):
        if path.is_file() and path.name != ".about":
            name = path.relative_to(home).as_posix()
            body = unseal(name, path.read_bytes())
            assert body is not None
            old = json.dumps(json.loads(body) | {"observed": observed}).encode()
            for copy in (path, home / "second" / name):
                copy.unlink()
                copy.write_bytes(seal(name, old))


def sent(hub: HubSim, file: str) -> int:
    """Bytes of a file that the hub (or its CDN) has sent."""
    return sum(one.sent for one in hub.requests() if one.file == file)


class Resuming:
    """A client that keeps what it got of a file, and asks for the rest when it is cut off: the
    most trusting one that there can be.
    """

    def __init__(self, target: str, size: int) -> None:
        self.target = target
        self.size = size
        self.data = bytearray()
        self.statuses: list[int] = []

    @property
    def complete(self) -> bool:
        return len(self.data) == self.size

    def fetch(self, url: str, *, stop: int | None = None) -> None:
        """One request. With `stop`, goes away when it has that many bytes."""
        headers = {"Range": f"bytes={len(self.data)}-"} if self.data else {}
        with Wire(url) as wire:
            wire.ask(self.target, Connection="close", **headers)
            head = wire.head()
            self.statuses.append(head.status)
            if head.status not in {200, 206}:
                return
            if head.status == 200:
                self.data.clear()
            assert int(head.headers["content-length"]) == self.size - len(self.data)
            while (stop is None or len(self.data) < stop) and (data := wire.read(MIB)):
                self.data += data
            assert not wire.was_reset, "clients resume only after a clean end"

    def insist(self, url: str, *, tries: int = 20) -> None:
        """Asks again and again until the file is complete, or `tries` are used up."""
        for _ in range(tries):
            if not self.complete:
                self.fetch(url)


def marks(reply: Reply) -> dict[str, str]:
    """The headers of our own that say how fresh and how whole an answer is."""
    found = {name: value for name, value in reply.headers.items() if name.startswith("x-outlast")}
    found.pop("x-outlast-claims", None)
    return found


def beside_git(hub: HubSim) -> list[LogEntry]:
    """What was asked of a hub beside the text of a commit, for which a mirror asks once, after the
    last file came.
    """
    return [one for one in hub.requests() if one.what != "git"]
