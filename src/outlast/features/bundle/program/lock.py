"""The list of what outlast needs, each pinned by the sha256 of its files, as `make lock` writes it
and pip reads it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.features.bundle.program.wheel_names import WheelName, normalised

LOCK: Final = Path(__file__).parents[1] / "carried" / "requirements.txt"
_ENTRY: Final = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9._+!-]+)(?: ; ([^\\]+?))? \\")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pinned:
    """A package in one version. `marker`: on which Pythons it is needed, "" on all; `files`: the
    digests of all its files.
    """

    package: str
    version: str
    marker: str
    files: frozenset[Digest]

    def line(self, files: Iterable[Digest], *, with_marker: bool = True) -> str:
        """An entry for pip that admits `files` alone."""
        marker = f" ; {self.marker}" if self.marker and with_marker else ""
        hashes = "".join(f" \\\n    --hash=sha256:{digest.hex}" for digest in sorted(files))
        return f"{self.package}=={self.version}{marker}{hashes}\n"


def read_lock(text: str) -> tuple[Pinned, ...]:
    """The entries of a lock file of ours."""
    found: list[Pinned] = []
    for line in text.splitlines():
        if entry := _ENTRY.fullmatch(line):
            package, version, marker = entry.groups(default="")
            found.append(Pinned(normalised(package), version, marker, frozenset()))
        for digest in _HASH.findall(line):
            last = found.pop()
            files = last.files | {Digest(digest)}
            found.append(Pinned(last.package, last.version, last.marker, files))
    return tuple(found)


def requirements(
    pinned: Sequence[Pinned], wheels: Mapping[str, Digest], first_line: str, leave_out: str
) -> str:
    """A file for pip that admits `wheels` (digests by name) and nothing else, without the package
    `leave_out`. `first_line` is a comment.
    """
    of: dict[str, list[Digest]] = {}
    for name, digest in wheels.items():
        of.setdefault(WheelName.parse(name).package, []).append(digest)
    lines = [
        entry.line(of[entry.package])
        for entry in sorted(pinned, key=lambda entry: entry.package)
        if entry.package in of and entry.package != leave_out
    ]
    return "".join([f"# {first_line}\n", *lines])
