"""outlast's TUF client with the command line of the public `tuf-conformance` suite::

    python -m tests.features.trust.tuf_client --metadata-dir DIR init ROOT
    … --metadata-dir DIR --metadata-url URL refresh
    … --metadata-dir DIR --metadata-url URL --target-name PATH --target-dir DIR \
        --target-base-url URL download

The suite (https://github.com/theupdateframework/tuf-conformance) then runs as
``pytest tuf_conformance --entrypoint "python -m tests.features.trust.tuf_client"``. The rules are
those of `trusted` and `workflow`; here is only where files are kept, as the suite wants them.
"""

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from tuf.api.metadata import TargetFile

from outlast.core.errors import OutlastError
from outlast.features.trust.catalogue.library import refusing
from outlast.features.trust.catalogue.places import WebPlace
from outlast.features.trust.catalogue.trusted import TrustedSet
from outlast.features.trust.catalogue.workflow import Workflow
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings

_MOST_TARGET = 64 << 20


@dataclass(frozen=True)
class FlatFolder:
    """A file for each role, without its version; each is kept as soon as it is trusted."""

    folder: Path

    def get(self, role: str) -> bytes | None:
        path = self._path(role)
        return path.read_bytes() if path.exists() else None

    def keep(self, role: str, version: int, data: bytes) -> None:
        del version
        self._path(role).write_bytes(data)

    def _path(self, role: str) -> Path:
        return self.folder / f"{quote(role, safe='')}.json"


@dataclass(frozen=True)
class MetadataAlone:
    """The suite's address of metadata, which has no folder ``metadata`` of its own."""

    place: WebPlace

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def is_near(self) -> bool:
        return self.place.is_near

    def read(self, path: str, most: int) -> bytes:
        return self.place.read(path.removeprefix("metadata/"), most)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metadata-dir", required=True, type=Path)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url", default="")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    given = parser.parse_args(arguments)
    kept = FlatFolder(given.metadata_dir)
    if given.command == "init":
        kept.keep("root", 1, given.trusted_root.read_bytes())
        return 0
    try:
        with HttpClient(HttpSettings()) as http:
            workflow = refresh(http, given.metadata_url, kept)
            if given.command == "download":
                for name in given.target_name:
                    download(
                        workflow, WebPlace(http, given.target_base_url), name, given.target_dir
                    )
    except OutlastError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    return 0


def refresh(http: HttpClient, url: str, kept: FlatFolder) -> Workflow:
    root = kept.get("root")
    assert root is not None, "init comes first"
    trusted = TrustedSet(root, datetime.now(UTC), strict=True)
    workflow = Workflow(MetadataAlone(WebPlace(http, url)), kept, trusted)
    workflow.refresh()
    return workflow


def download(workflow: Workflow, place: WebPlace, name: str, folder: Path) -> None:
    """Fetches a target, unless it is there already."""
    target = workflow.find(name)
    if target is None:
        raise OutlastError(f"no target {name!r}")
    path = folder / quote(name, safe="")
    if path.exists() and _is_right(target, path.read_bytes()):
        return
    if target.length > _MOST_TARGET:
        raise OutlastError(f"{name!r} is too large")
    data = place.read(_file_of(workflow, target), target.length)
    with refusing(f"the target {name!r}"):
        target.verify_length_and_hashes(data)
    path.write_bytes(data)


def _is_right(target: TargetFile, data: bytes) -> bool:
    try:
        with refusing("a target"):
            target.verify_length_and_hashes(data)
    except OutlastError:
        return False
    return True


def _file_of(workflow: Workflow, target: TargetFile) -> str:
    folder, slash, base = target.path.rpartition("/")
    if workflow.trusted.root.consistent_snapshot:
        base = f"{next(iter(target.hashes.values()))}.{base}"
    return quote(f"{folder}{slash}{base}")


if __name__ == "__main__":
    sys.exit(main())
