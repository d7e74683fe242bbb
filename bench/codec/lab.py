"""What the cases of `make bench-codec` share: the workers, and figures of all contestants."""

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from bench import peers
from bench.codec.client import Client
from bench.process import BenchError
from bench.rows import Row, Target, alternate
from bench.stage import MissingPeerError, Stage
from tests.realweights import WeightsUnavailableError

ENCODE, DECODE = "encode", "decode"


@dataclass(frozen=True, slots=True)
class Blob:
    """Something to be coded: what the table calls it, its file, its dtype and its base."""

    title: str
    path: Path
    dtype: str
    base: Path | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Of every contestant (ours by SIMD path, the fastest first): the size of what it made, and
    the MB/s of each sample by direction.
    """

    size: int
    packed: Mapping[str, int]
    speeds: Mapping[str, Mapping[str, Sequence[float]]]
    broken: Sequence[str]

    def ratios(self) -> dict[str, float]:
        return {name: self.size / packed for name, packed in self.packed.items()}

    def saved(self) -> dict[str, float]:
        """In percent."""
        return {name: 100 - 100 * packed / self.size for name, packed in self.packed.items()}

    def note(self) -> str:
        """Which peers are left out, and why."""
        return "; ".join(self.broken)


@dataclass
class Lab:
    """The workers of a run. `module` is ours, or another with the same functions."""

    folder: Path
    pairs: int
    module: str
    product: Stage
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def close(self) -> None:
        self._stack.close()

    @cached_property
    def peers(self) -> Client:
        try:
            python = peers.codecs() / "python"
        except peers.PeerUnavailableError as error:
            raise MissingPeerError(str(error)) from error
        return self._client(python, "bench.codec.peer_codecs")

    @cached_property
    def ours(self) -> Client:
        return self._client(Path(sys.executable), "bench.codec.our_codecs", self.module)

    def restart(self) -> None:
        """Has the next case begin with workers that no other one left behind."""
        self.close()
        for name in ("peers", "ours", "paths"):
            self.__dict__.pop(name, None)

    def _client(self, python: Path, module: str, *arguments: str) -> Client:
        client = Client(python, module, *arguments, said=self.folder / f"{module}.log")
        self._stack.callback(client.close)
        return client

    @cached_property
    def paths(self) -> list[str]:
        """The SIMD paths of ours, the fastest first."""
        names: list[str] = self.ours.ask("names")
        return names

    def scratch(self) -> "tempfile.TemporaryDirectory[str]":
        return tempfile.TemporaryDirectory(dir=self.folder)

    def measure(self, blob: Blob, names: Sequence[str], *, all_paths: bool = False) -> Figures:
        """Ours and the named peers, in turns. A peer that fails is left out, and says why."""
        about = (str(blob.path), blob.dtype, str(blob.base) if blob.base else None)
        self.ours.ask("load", *about)
        self.peers.ask("load", *about)
        packed: dict[str, int] = {}
        broken: list[str] = []
        asked: dict[str, Callable[..., Any]] = {}
        for path in self.paths if all_paths else self.paths[:1]:
            packed[path] = int(self.ours.ask("pack", path))
            asked[path] = partial(self.ours.ask, "time", path)
        for name in names:
            try:
                packed[name] = int(self.peers.ask("pack", name))
                asked[name] = partial(self.peers.ask, "time", name)
            except BenchError as error:
                broken.append(str(error))
        speeds = {
            direction: alternate(
                {name: partial(ask, direction) for name, ask in asked.items()}, self.pairs
            )
            for direction in (ENCODE, DECODE)
        }
        return Figures(blob.path.stat().st_size, packed, speeds, broken)

    def bound(self, blob: Blob) -> float:
        """The ratio of a static order-0 coder; of the XOR with the base, where there is one."""
        base = str(blob.base) if blob.base else None
        return float(self.peers.ask("bound", str(blob.path), blob.dtype, base))


def weights(get: Callable[[], Path]) -> Path:
    """A file of real weights. Raises :class:`MissingPeerError` where it cannot be had."""
    try:
        return get()
    except (WeightsUnavailableError, peers.PeerUnavailableError) as error:
        raise MissingPeerError(str(error)) from error


def value_row(
    what: str,
    unit: str,
    ours: float,
    beside: Mapping[str, float],
    target: Target | None,
    *,
    note: str = "",
) -> Row:
    """Our own figure, the peers' beside it, and an absolute target."""
    return Row(
        what,
        unit,
        rounded(ours),
        {name: rounded(value) for name, value in beside.items()},
        None,
        str(target or ""),
        target.holds(ours) if target else None,
        note,
    )


def speed_row(
    what: str, samples: Mapping[str, Sequence[float]], path: str, peer: str, target: Target | None
) -> Row:
    """One SIMD path against one peer, by the median of the ratios of neighbours; all medians."""
    if path not in samples or peer not in samples:
        lacking = path if path not in samples else peer
        return Row(what, "MB/s", None, {}, None, str(target or ""), None, f"{lacking} is not here")
    ratio = statistics.median(a / b for a, b in zip(samples[path], samples[peer], strict=True))
    medians = {name: rounded(statistics.median(values)) for name, values in samples.items()}
    ours = medians.pop(path)
    first = {peer: medians.pop(peer)}
    return Row(
        what,
        "MB/s",
        ours,
        first | medians,
        rounded(ratio),
        str(target or ""),
        target.holds(ratio) if target else None,
    )


def rounded(value: float) -> float:
    """Five digits: codecs are told apart by the fourth of a ratio."""
    return float(f"{value:.5g}")
