"""The code of a model: whether `run` may use it, and what changed since it did.

The operator's word is for exactly these files of this model. Other files ask again.
"""

import datetime as dt
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from outlast.codec.memory import read
from outlast.core.digest import Digest
from outlast.core.errors import (
    CodeNotAllowedError,
    EntryNotFoundError,
    OutlastError,
    UsageError,
)
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target
from outlast.intake.formats.model_code import ModelCode
from outlast.store.archive import Archive
from outlast.store.words.allowed_code import MOST_FILES, AllowedCode, CodeWords

MAX_CODE_FILE: Final = 4 * 1024 * 1024
"""Bytes of one file. Guess: the largest on hubs have 300 KB."""
_MOST_LINES: Final = 20_000
"""Lines of a file that is compared line by line."""


@dataclass(frozen=True, slots=True)
class CodeState:
    """The code of a revision. `word`: what lets it run; `before`: the newest word for other code of
    this model.
    """

    code: ModelCode
    word: AllowedCode | None
    before: AllowedCode | None

    @property
    def has_changed(self) -> bool:
        """Whether other code of this model ran by the operator's word, and this does not."""
        return bool(self.code.files) and self.word is None and self.before is not None


def code_state(archive: Archive, revision: Revision) -> CodeState:
    """How it stands of a revision."""
    code = ModelCode.of(revision)
    words = archive.code_words.get(revision.repo) or CodeWords()
    word = words.of(code.digest) if code.files and not code.unknown else None
    others = (one for one in words.allowed if one is not word)
    return CodeState(code, word, next(others, None))


def allow_code(archive: Archive, target: Target, prefix: str, now: dt.datetime) -> CodeState:
    """Lets the code of `target` run, if its digest begins with `prefix`. Raises
    :class:`UsageError` where it does not, or there is none, and :class:`CodeNotAllowedError` while
    files of it are arriving.
    """
    revision = archive.revision(target.repo, target.ref)
    code = ModelCode.of(revision)
    if code.unknown:
        raise CodeNotAllowedError(
            f"code of {target} is still arriving: {code.unknown[0]}", hint=f"outlast pull {target}"
        )
    if not code.files:
        raise UsageError(f"{target} has no Python files", hint="run it without --allow-code")
    if len(code.files) > MOST_FILES:
        raise UsageError(f"{target} has more than {MOST_FILES} Python files")
    if not code.digest.hex.startswith(prefix):
        raise UsageError(
            f"the digest of the code of {target} is {code.digest.short}…, not {prefix[:64]}…",
            hint="'outlast show' prints it: read the files before you allow them",
        )
    words = archive.code_words.get(revision.repo) or CodeWords()
    if words.of(code.digest) is None:
        when = now.isoformat(timespec="seconds")
        one = AllowedCode(code.digest, code.files, when)
        with archive.writer() as writer:
            archive.code_words.put(writer, revision.repo, words.with_one(one))
    return code_state(archive, revision)


def allowed_code(archive: Archive) -> list[tuple[RepoId, AllowedCode]]:
    """All that may run, by model and then by time."""
    found = [(repo, one) for repo, words in archive.code_words.all() for one in words.allowed]
    return sorted(found, key=lambda pair: (pair[0].folded, pair[1].since, pair[1].digest))


def forbid_code(archive: Archive, prefix: str) -> list[tuple[RepoId, AllowedCode]]:
    """Takes the word back for code whose digest begins with `prefix`. Raises
    :class:`EntryNotFoundError`.
    """
    found = [
        (repo, one) for repo, one in allowed_code(archive) if one.digest.hex.startswith(prefix)
    ]
    if not found:
        raise EntryNotFoundError(
            f"no code of the digest {prefix[:64]} is allowed",
            hint="'outlast accept --code' lists what is",
        )
    with archive.writer() as writer:
        for repo, one in found:
            words = archive.code_words.get(repo) or CodeWords()
            archive.code_words.put(writer, repo, words.without(one.digest))
    return found


def code_changes(archive: Archive, old: AllowedCode, new: ModelCode) -> Iterator[str]:
    """The lines of a unified diff from the code that was allowed to that of a revision. Where bytes
    are not here, or no text, a line says so.
    """
    before, after = dict(old.files), dict(new.files)
    for path in sorted({*before, *after}):
        first, last = before.get(path), after.get(path)
        if first != last:
            yield from _diff(archive, path, first, last)


def _diff(archive: Archive, path: str, first: Digest | None, last: Digest | None) -> Iterator[str]:
    names = [f"{side}/{path}" if digest else "/dev/null" for side, digest in _sides(first, last)]
    texts = [_lines(archive, digest) for digest in (first, last)]
    if texts[0] is None or texts[1] is None:
        yield f"--- {names[0]}"
        yield f"+++ {names[1]}"
        yield "it cannot be compared line by line: not here, too long, or no text"
        return
    yield from difflib.unified_diff(texts[0], texts[1], names[0], names[1], lineterm="")


def _sides(first: Digest | None, last: Digest | None) -> tuple[tuple[str, Digest | None], ...]:
    return ("allowed", first), ("now", last)


def _lines(archive: Archive, digest: Digest | None) -> list[str] | None:
    """The lines of a file; none where there is no such file, None where they cannot be had."""
    if digest is None:
        return []
    try:
        with archive.open_blob(digest) as blob:
            if blob.size > MAX_CODE_FILE:
                return None
            lines = bytes(read(blob, 0, blob.size)).decode().splitlines()
    except (OutlastError, FileNotFoundError, UnicodeDecodeError):
        return None
    return lines if len(lines) <= _MOST_LINES else None
