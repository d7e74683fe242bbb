"""Attestations: each file below `attestations/` that a sha256 names is compared with it. What it
says is for others to judge.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.features.durability.scrub.found import UNTOUCHED, DamagedPart, FoundDamage
from outlast.features.durability.scrub.manifests import one_bit
from outlast.features.durability.scrub.tuning import TUNING
from outlast.store import disk
from outlast.store.archive import Archive

_CHUNK: Final = 1 << 20


def check_attestations(archive: Archive, cancel: Cancel, *, mends: bool) -> Iterator[FoundDamage]:
    """Yields the damaged ones; where one bit is wrong, that is mended."""
    for path, digest in _named(archive.layout.attestations):
        cancel.check()
        try:
            problem = "" if _sha256(path, cancel) == digest else "it is not what its name says"
        except FileNotFoundError:  # removed meanwhile
            continue
        except OutlastError as error:
            problem = str(error)
        if problem:
            why_not = UNTOUCHED
            if mends:
                why_not = "" if _mend(archive, path, digest) else "no source of it is known"
            name = archive.layout.name_of(path)
            yield FoundDamage(
                DamagedPart.ATTESTATION, name, problem, mended=not why_not, why_not=why_not
            )


def _named(folder: Path) -> Iterator[tuple[Path, Digest]]:
    """The files whose names begin with a sha256, to the first dot; links are not followed."""
    for at, _, names in os.walk(folder):
        for name in sorted(names):
            digest = name.partition(".")[0]
            path = Path(at, name)
            if Digest.is_valid(digest) and not path.is_symlink():
                yield path, Digest(digest)


def _sha256(path: Path, cancel: Cancel) -> Digest:
    hasher = hashlib.sha256()
    if not path.exists():
        raise FileNotFoundError(path)
    with disk.reporting(path), open(path, "rb") as file:
        while data := file.read(_CHUNK):
            cancel.check()
            hasher.update(data)
    return Digest(hasher.hexdigest())


def _mend(archive: Archive, path: Path, digest: Digest) -> bool:
    try:
        data = path.read_bytes() if path.stat().st_size <= TUNING.one_bit else b""
    except OSError:
        return False
    for right in one_bit(data, digest):
        with archive.writer() as writer:
            writer.write(path, right)
        return True
    return False
