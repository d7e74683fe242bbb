"""Names of wheels, and for which machines each is (the package index's binary distribution format).

They come from outside: a name that is not of this form is refused before a file is opened.
"""

import platform
import re
import sys
from dataclasses import dataclass
from typing import Final, Self

from outlast.core.errors import MalformedError, UsageError

PLATFORMS: Final = ("linux-x86_64", "linux-aarch64")
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._+]*"
_NAME: Final = re.compile(
    rf"({_PART})-({_PART})(?:-[0-9][A-Za-z0-9._]*)?-([a-z0-9_.]+)-([a-z0-9_.]+)-([a-z0-9_.]+)\.whl"
)
_LONGEST: Final = 200
_PYTHON: Final = re.compile(r"3\.[0-9]{1,2}")
_OLDEST: Final = 11
"""The oldest Python that outlast runs on is 3.11."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A minor version of CPython 3, and a platform of :data:`PLATFORMS`."""

    minor: int
    platform: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    @property
    def python(self) -> str:
        return f"3.{self.minor}"

    @property
    def processor(self) -> str:
        return self.platform.partition("-")[2]


def machine(python: str | None = None, platform_name: str | None = None) -> Machine:
    """By its names; what is not named is as on this machine. Raises :class:`UsageError`."""
    here = f"{sys.platform}-{platform.machine()}"
    wanted, found = python or f"3.{sys.version_info.minor}", platform_name or here
    if not _PYTHON.fullmatch(wanted) or int(wanted[2:]) < _OLDEST:
        raise UsageError(
            f"no Python for outlast: {wanted[:20]!r}", hint=f"name 3.{_OLDEST} or a later one"
        )
    if found not in PLATFORMS:
        raise UsageError(
            f"no platform with an engine: {found[:40]!r}",
            hint=f"--platform takes {' and '.join(PLATFORMS)}",
        )
    return Machine(int(wanted[2:]), found)


@dataclass(frozen=True, slots=True)
class WheelName:
    """A wheel's file name: the package (as indexes compare names), its version, and the tags."""

    package: str
    version: str
    pythons: frozenset[str]
    abis: frozenset[str]
    platforms: frozenset[str]

    @classmethod
    def parse(cls, name: str) -> Self:
        """Raises :class:`MalformedError`."""
        found = _NAME.fullmatch(name) if len(name) <= _LONGEST else None
        if found is None:
            raise MalformedError(f"not the name of a wheel: {name[:80]!r}")
        tags = (frozenset(found[number].split(".")) for number in (3, 4, 5))
        return cls(normalised(found[1]), found[2], *tags)

    def fits(self, on: Machine) -> bool:
        """Whether a machine can use it, as far as the name says: not how new its C library is."""
        return any(_is_of(tag, on) for tag in self.platforms) and any(
            self._takes(tag, on.minor) for tag in self.pythons
        )

    def _takes(self, tag: str, minor: int) -> bool:
        kind, digits = tag[:2], tag[2:]
        if not digits.isdecimal() or not digits.startswith("3"):
            return False
        least = int(digits[1:] or 0)
        if kind == "cp" and not self.abis & {"abi3", "none"}:
            return least == minor
        return kind in {"cp", "py"} and least <= minor


def normalised(package: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _is_of(tag: str, on: Machine) -> bool:
    return tag == "any" or (tag.startswith(("manylinux", "linux")) and tag.endswith(on.processor))
