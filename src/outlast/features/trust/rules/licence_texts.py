"""The files of a revision that hold the text of a licence."""

import re
from collections.abc import Mapping
from typing import Final

from outlast.core.digest import Digest
from outlast.core.manifest import Revision

_TEXT: Final = re.compile(r"(?i)(.*/)?(licen[cs]e|copying|notice)([._-][^/]*)?\Z")
"""Files that hold the text of a licence, by name."""


def licence_texts(revision: Revision) -> Mapping[str, Digest]:
    """Their digests, by path."""
    return {
        entry.path: entry.sha256
        for entry in revision.files
        if entry.sha256 is not None and _TEXT.match(entry.path)
    }
