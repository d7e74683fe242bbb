"""The files for people that go on every medium of a bundle."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from outlast.cli.screen.claims import claim_words
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.features.bundle.planning import ExportPlan
from outlast.features.bundle.review.markdown import markdown
from outlast.features.bundle.review.marks import is_looked_into
from outlast.features.bundle.review.page import page
from outlast.features.bundle.review.report import review
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)
_MOST_TEXTS: Final = 32 * 1024 * 1024
"""Bytes of small files that are looked into for one bundle; of the others the name says all."""
_SCRIPT: Final = Path(__file__).parents[1] / "carried" / "verify.py"


def companions(archive: Archive, plan: ExportPlan) -> dict[str, bytes]:
    """verify.py, MANIFEST.md and index.html, by path. They depend on the plan alone: a second run
    of an export writes the same.
    """
    texts = dict(_texts(archive, plan.revisions))
    claims = {digest: claim_words(claims) for digest, claims in plan.claims.items()}
    found = review(plan.contents, plan.revisions, texts, claims)
    return {
        **script(),
        "MANIFEST.md": markdown(found).encode(),
        "index.html": page(found).encode(),
    }


def script() -> dict[str, bytes]:
    """verify.py, by its path."""
    return {"verify.py": _SCRIPT.read_bytes()}


def _texts(archive: Archive, revisions: Sequence[Revision]) -> Iterator[tuple[Digest, bytes]]:
    """Small files that say more than their names. One that cannot be read is passed over: the
    export itself, which reads it again, says why.
    """
    wanted = {
        entry.sha256: entry.size
        for revision in revisions
        for entry in revision.files
        if entry.sha256 is not None and is_looked_into(entry.path, entry.size)
    }
    left = _MOST_TEXTS
    for digest, size in wanted.items():
        left -= size
        if left < 0:
            _log.info("not all small files are looked into for the pages of the bundle")
            return
        try:
            with archive.open(digest) as file:
                data = file.read(size)
        except (OutlastError, OSError) as error:
            _log.info("%s is not looked into for the pages: %s", digest.short, error)
            continue
        if Digest.of(data) == digest:
            yield digest, data
