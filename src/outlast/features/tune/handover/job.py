"""What a training that was handed over was told: `job.json` in its folder, which comes back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json
from outlast.core.records.lineage import MadeFrom
from outlast.features.tune.options import TuneOptions
from outlast.store import disk

JOB: Final = "job.json"
ADAPTER: Final = "adapter"
METRICS: Final = "metrics.json"
_TYPE: Final = "urn:outlast:handover:v1"
_MOST: Final = 64 * 1024
_MOST_VALUES: Final = 32


@dataclass(frozen=True, slots=True)
class Handover:
    """A training by `engine`, on `base`, of the data with the sha256 `data`; `learn`: how many of
    the rows in the folder are learned, the rest is held out.
    """

    engine: str
    base: MadeFrom
    data: Digest
    options: TuneOptions
    learn: int

    def to_bytes(self) -> bytes:
        document = {
            "type": _TYPE,
            "engine": self.engine,
            "base": self.base.to_json(),
            "data": self.data.hex,
            "learn": self.learn,
            "options": {**self.options.parameters(), "seed": self.options.seed},
        }
        return json.dumps(document, indent=2).encode() + b"\n"

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """That of a folder; None where it has none. Raises :class:`MalformedError`."""
        data = disk.read_plain(folder / JOB, _MOST + 1)
        if data is None:
            return None
        said = load_json(data, _MOST)
        if not isinstance(said, dict) or said.get("type") != _TYPE:
            raise MalformedError(f"{folder / JOB} is not of a training that was handed over")
        try:
            given = dict(said["options"])
            targets = tuple(str(given.pop("targets")).split(","))
            options = TuneOptions(**given, targets=targets)
            return cls(
                str(said["engine"])[:40],
                MadeFrom.of(said["base"]),
                Digest(str(said["data"])),
                options,
                int(said["learn"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedError(f"{folder / JOB} lacks something, or has too much") from error


@dataclass(frozen=True, slots=True)
class ToldMetrics:
    """What the program that trained says of it; nothing of it was checked here."""

    metrics: Mapping[str, int | float]
    versions: Mapping[str, str]
    tokenizer: Digest | None
    template: Digest | None


def read_metrics(folder: Path) -> ToldMetrics:
    """What stands beside an adapter; nothing where no file does. Raises :class:`MalformedError`."""
    data = disk.read_plain(folder / METRICS, _MOST + 1)
    said = {} if data is None else load_json(data, _MOST)
    if not isinstance(said, dict):
        raise MalformedError(f"{folder / METRICS} is no JSON object")
    return ToldMetrics(
        {k: v for k, v in _some(said, "metrics").items() if type(v) in (int, float)},
        {k: v for k, v in _some(said, "versions").items() if isinstance(v, str)},
        _digest(said.get("tokenizer")),
        _digest(said.get("template")),
    )


def _some(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = said.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > _MOST_VALUES:
        raise MalformedError(f"{METRICS}: {key} is no short table")
    return found


def _digest(value: object) -> Digest | None:
    return Digest(value) if isinstance(value, str) and Digest.is_valid(value) else None
