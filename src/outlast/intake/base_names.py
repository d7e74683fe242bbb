"""Which models are named as the bases of another one: by its hub's tags and by its cards."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from outlast.codec.memory import read
from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive

_CARDS: Final = ("README.md", "config.json")
_LIMIT: Final = 1 << 20
"""Bytes of the largest card that is read."""
_FRONT: Final = 64 * 1024
_NAMED: Final = 8

_KEY: Final = re.compile(r"base_model[ \t]*:(.*)")
_ITEM: Final = re.compile(r"\s*-\s+(.+)")


class BaseNames:
    """The models that are named as bases of one model. Its cards may become known one by one, in
    any order and from any thread: what is named does not depend on the order.
    """

    def __init__(self, archive: Archive, repo: RepoId) -> None:
        self._archive = archive
        self._tags = tuple(read_tags(archive.refs.about(repo).tags))
        self._cards: dict[str, list[RepoId]] = {}

    def all(self) -> list[RepoId]:
        """Each once, as far as they are known."""
        cards = [name for path in _CARDS for name in self._cards.get(path, ())]
        return list(dict.fromkeys((*self._tags, *cards)))

    def learn(self, path: str, data: bytes) -> None:
        """What the card at `path` says."""
        self._cards[path] = read_card(path, data)

    def learn_file(self, entry: FileEntry) -> None:
        """The same from the archive, if the file is a card; a damaged one says nothing."""
        if entry.sha256 is None or not is_card(entry.path, entry.size):
            return
        try:
            with self._archive.open_blob(entry.sha256) as blob:
                self.learn(entry.path, read(blob, 0, blob.size))
        except OutlastError:
            return  # `verify` tells

    def learn_revision(self, revision: Revision) -> None:
        """The same of all cards of a revision that are here."""
        for entry in revision.files:
            self.learn_file(entry)


def is_card(path: str, size: int) -> bool:
    """Whether a file of `size` bytes may name a base."""
    return path in _CARDS and size <= _LIMIT


def read_card(path: str, data: bytes) -> list[RepoId]:
    """The models that a README.md (its front matter's ``base_model``) or a config.json (its
    ``_name_or_path``) names. Anything else in them, or wrong with them, is passed over.
    """
    text = data[:_LIMIT].decode(errors="replace")
    if path == "README.md":
        return _repos(_front_matter(text[:_FRONT]))
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return []
    named = config.get("_name_or_path") if isinstance(config, dict) else None
    return _repos([named]) if isinstance(named, str) else []


def read_tags(tags: Iterable[str]) -> list[RepoId]:
    """The same from a hub's tags: ``base_model:org/name``, ``base_model:finetune:org/name``."""
    return _repos(t.rpartition(":")[2] for t in tags if t.startswith("base_model:"))


def _front_matter(text: str) -> Iterator[str]:
    """The values of ``base_model``: a text, a list in brackets, or a list of lines."""
    lines = iter(text.splitlines())
    if next(lines, "").strip() != "---":
        return
    listed = False
    for line in lines:
        if line.strip() == "---":
            return
        if listed and (item := _ITEM.fullmatch(line)):
            yield item[1]
            continue
        found = _KEY.fullmatch(line)
        value = found[1].strip() if found else ""
        listed = found is not None and not value
        yield from value.strip("[]").split(",") if value else ()


def _repos(names: Iterable[str]) -> list[RepoId]:
    found: list[RepoId] = []
    for name in names:
        plain = name.split(" #", maxsplit=1)[0].strip().strip("'\"")
        try:
            repo = RepoId.parse(plain)
        except OutlastError:
            continue
        if "/" in repo.name and repo not in found:
            found.append(repo)
        if len(found) == _NAMED:
            break
    return found
