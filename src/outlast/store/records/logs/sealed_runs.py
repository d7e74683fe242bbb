"""The log of sealed runs: which revision ran, kept off the network by what, and how many packets
went to or from it (docs/format/sealed-runs.md).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BadNameError, MalformedError
from outlast.core.names import RepoId
from outlast.store.records.logs.line_log import LineLog

NAME: Final = "trust/sealed-runs.jsonl"
"""Its path in the archive's folder."""
_PART: Final = b"sealed-run"
_TYPE: Final = "outlast-sealed-run-v1"


@dataclass(frozen=True, slots=True)
class SealedRun:
    """A run that has ended. `started` and `ended` are ISO 8601, UTC; `engine` names the engine and
    its build, `by` what kept it off the network. `requests` were given to it. `packets` of None:
    the engine had no network namespace of its own in which they could be counted.
    """

    repo: RepoId
    revision: GitOid
    manifest: Digest
    engine: str
    by: tuple[str, ...]
    requests: int
    packets: int | None
    started: str
    ended: str

    def to_json(self) -> dict[str, Any]:
        plain = {"repo": str(self.repo), "revision": self.revision.hex, "by": list(self.by)}
        return {**asdict(self), **plain, "manifest": self.manifest.hex}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self | None:
        """The inverse; None for what is none."""
        packets = document.get("packets")
        try:
            return cls(
                RepoId.parse(str(document["repo"])),
                GitOid(str(document["revision"])),
                Digest(str(document["manifest"])),
                str(document["engine"]),
                tuple(map(str, document["by"])),
                int(document["requests"]),
                None if packets is None else int(packets),
                str(document["started"]),
                str(document["ended"]),
            )
        except (BadNameError, KeyError, MalformedError, TypeError, ValueError):
            return None


class SealedRuns:
    """The log of the archive in `home`. Thread-safe, and safe with other processes."""

    def __init__(self, home: Path) -> None:
        self._log = LineLog(home, NAME, _PART, _TYPE)

    def append(self, run: SealedRun) -> None:
        """Notes a run, durably."""
        self._log.append(run.to_json())

    def of(self, manifest: Digest) -> Iterator[SealedRun]:
        """The runs of a manifest, the oldest first. A damaged line is passed over."""
        for document in self._log.read():
            run = SealedRun.from_json(document)
            if run is not None and run.manifest == manifest:
                yield run

    def damaged(self) -> list[int]:
        """The numbers of the lines that cannot be read, from 1."""
        return self._log.damaged()
