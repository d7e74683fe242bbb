"""Which models are named as the bases of another one: by its hub's tags and by its cards."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from outlast.codec.memory import read
from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.intake.front_matter import FRONT, front_matter
from outlast.store.archive import Archive

_CARDS: Final = ("README.md", "config.json")
_LIMIT: Final = 1 << 20
"""Bytes of the largest card that is read."""
_CARD: Final = "README.md"
_NAMED: Final = 8
_ODD: Final = re.compile(r"""\s*[>|&*!{?<]|.*\\""")
"""Values of YAML that are written in another way than names are."""
UNREAD_BASE: Final = "card-that-cannot-be-read"
"""No model is called so: stands among the names of bases where there may be more of them."""


class BaseNames:
    """The models that are named as bases of one model. Its cards may become known one by one, in
    any order and from any thread: what is named does not depend on the order.
    """

    def __init__(self, archive: Archive, repo: RepoId) -> None:
        self._archive = archive
        self._tags = tuple(read_tags(archive.refs.about(repo).tags))
        self._cards: dict[str, list[RepoId]] = {}
        self._unread: set[str] = set()
        if len(_repos(_tagged(archive.refs.about(repo).tags))) > _NAMED:
            self._unread.add("tags")

    def all(self) -> list[RepoId]:
        """Each once, as far as they are known."""
        cards = [name for path in _CARDS for name in self._cards.get(path, ())]
        return list(dict.fromkeys((*self._tags, *cards)))

    @property
    def unread(self) -> bool:
        """Whether a card may name bases that are not among those: it cannot be read, or names too
        many.
        """
        return bool(self._unread)

    def learn(self, path: str, data: bytes) -> None:
        """What the card at `path` says."""
        self._cards[path], is_whole = _read(path, data)
        if not is_whole:
            self._unread.add(path)

    def learn_file(self, entry: FileEntry) -> None:
        """The same from the archive, if the file is a card; a damaged one says nothing."""
        if entry.sha256 is None or entry.path not in _CARDS:
            return
        try:
            with self._archive.open_blob(entry.sha256) as blob:
                self.learn(entry.path, read(blob, 0, min(blob.size, _LIMIT + 1)))
        except OutlastError:
            self._unread.add(entry.path)  # `verify` tells

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
    return _read(path, data)[0]


def _read(path: str, data: bytes) -> tuple[list[RepoId], bool]:
    """The same, and whether that is surely all of it."""
    if path == _CARD:
        said = list(
            front_matter(
                data[:FRONT].decode(errors="replace"), ["base_model"], cut=len(data) > FRONT
            )
        )
        found = _repos(value for _, value in said if value is not None)
        plain = all(value is not None and _ODD.match(value) is None for _, value in said)
        return found[:_NAMED], plain and len(found) <= _NAMED
    try:
        config = json.loads(data[:_LIMIT].decode(errors="replace"))
    except (ValueError, RecursionError):
        return [], len(data) <= _LIMIT
    named = config.get("_name_or_path") if isinstance(config, dict) else None
    return (_repos([named]) if isinstance(named, str) else []), True


def read_tags(tags: Iterable[str]) -> list[RepoId]:
    """The same from a hub's tags: ``base_model:org/name``, ``base_model:finetune:org/name``."""
    return _repos(_tagged(tags))[:_NAMED]


def _tagged(tags: Iterable[str]) -> Iterator[str]:
    return (t.rpartition(":")[2] for t in tags if t.startswith("base_model:"))


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
        if len(found) > _NAMED:
            break
    return found
