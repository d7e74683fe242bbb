"""One revision in a catalogue: what its target says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tuf.api.metadata import TargetFile

from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError, MalformedError, OutlastError, one_line
from outlast.core.manifest import MAX_FILES
from outlast.features.trust.catalogue.names import TargetName
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.sources.kinds import parse_source

_FIELD: Final = "outlast"
_MOST: Final = 1 << 53
_MOST_SOURCE: Final = 1024
_SHA256: Final = "sha256"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A revision that a catalogue lists: its manifest by digest, `manifest_bytes` long. `sequence`
    grows with each revision of a model. `files` and `size` (bytes) are the manifest's own. The
    files may be at `sources`; `torrent` is the v2 infohash of the revision, in hex (empty: not
    told).
    """

    name: TargetName
    manifest: Digest
    manifest_bytes: int
    sequence: int
    files: int
    size: int
    sources: tuple[str, ...] = ()
    torrent: str = ""
    restricted: bool = False
    """Whether the model is private or gated at its hub: then it is not announced to strangers."""

    def to_target(self) -> TargetFile:
        told: dict[str, Any] = {"bytes": self.size, "files": self.files, "sequence": self.sequence}
        if self.sources:
            told["sources"] = list(self.sources)
        if self.restricted:
            told["restricted"] = True
        if self.torrent:
            told["torrent"] = self.torrent
        return TargetFile(
            self.manifest_bytes,
            {_SHA256: self.manifest.hex},
            self.name.path,
            {"custom": {_FIELD: told}},
        )

    @classmethod
    def of_target(cls, path: str, target: TargetFile) -> "CatalogueEntry":
        """Raises :class:`MalformedError`. What it does not know it passes over."""
        name = TargetName.parse(path)
        told = (target.custom or {}).get(_FIELD)
        if not isinstance(told, Mapping) or not isinstance(target.hashes.get(_SHA256), str):
            raise MalformedError(f"{path} is not an entry of a catalogue of models")
        if _number(target.length, "length") > TUNING.manifest:
            raise MalformedError(f"{path} has a manifest of more than {TUNING.manifest} bytes")
        torrent = told.get("torrent", "")
        if torrent != "" and not (isinstance(torrent, str) and Digest.is_valid(torrent)):
            raise MalformedError(f"{path} has a torrent that is none")
        return cls(
            name,
            Digest(target.hashes[_SHA256]),
            target.length,
            _number(told.get("sequence"), "sequence"),
            min(_number(told.get("files"), "files"), MAX_FILES),
            _number(told.get("bytes"), "bytes"),
            check_sources(told.get("sources", [])),
            torrent,
            told.get("restricted") is True,
        )


def check_sources(value: object) -> tuple[str, ...]:
    """Addresses of sources on the web: no folder of this machine, and nothing that credentials of
    its user would open. Raises :class:`MalformedError`.
    """
    if not isinstance(value, list | tuple) or len(value) > TUNING.sources:
        raise MalformedError(f"not a list of at most {TUNING.sources} sources")
    for text in value:
        problem = _source_problem(text)
        if problem:
            shown = one_line(str(text), 100)
            raise MalformedError(f"not a source for a catalogue: {shown}: {problem}")
    return tuple(value)


def _source_problem(text: object) -> str:
    if not isinstance(text, str) or len(text) > _MOST_SOURCE or not text.isprintable():
        return "not a short text"
    try:
        at = parse_source(text)
        parts = urlsplit(at.url)
    except (BadConfigError, ValueError) as error:
        return str(error)
    if at.is_local or parts.scheme not in {"http", "https"} or not parts.hostname:
        return "not on the web"
    return "it has a password" if parts.username is not None else ""


def _number(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise MalformedError(f"an entry has an impossible number ({what}): {str(value)[:40]}")
    return value


def problem_of(error: OutlastError) -> str:
    """Why an entry is left out, in a line."""
    return one_line(str(error), 200)
