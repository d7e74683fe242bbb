"""The operator's rules as they are when a model comes: which files, and their digests."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import one_line
from outlast.features.trust.evidence.acquired import NamedDigest, RulesInForce
from outlast.features.trust.rules.assemble import rule_files
from outlast.features.trust.settings import TrustSettings

_log = logging.getLogger(__name__)
_MOST_NAME: Final = 200


def rules_in_force(home: Path, settings: TrustSettings) -> RulesInForce:
    """What holds for the archive in `home`. A file that cannot be read is left out."""
    files = rule_files(home, settings)
    mode = "report" if settings.reports else "enforce"
    return RulesInForce(mode if files.rules else "none", tuple(_digests(home, settings)))


def _digests(home: Path, settings: TrustSettings) -> Iterator[NamedDigest]:
    files = rule_files(home, settings)
    named = [("rules", path) for path in files.rules]
    named += [("publishers", files.publishers)] if files.publishers else []
    named += [("labels", files.labels)] if files.labels else []
    named += [("list", _list_path(text)) for text in settings.lists]
    for role, path in named:
        try:
            with path.open("rb") as file:
                digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            _log.warning("%s is not in the record of a pull: %s", path, error)
            continue
        yield NamedDigest(one_line(path.name, _MOST_NAME), digest, role)


def _list_path(text: str) -> Path:
    from outlast.features.trust.screening.list_screen import (  # noqa: PLC0415 - few have any
        NamedList,
    )

    return NamedList.parse(text).path
