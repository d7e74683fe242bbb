"""The list of what is followed: a text file that a person may edit, and that commands change.

It is written as keep-lists are (`outlast.core.keep_list`), a follow a line::

    Qwen/*                       include=*.safetensors include=*.json budget=500GB
    meta-llama/Llama-3.2-1B@v1   priority=high
    collections/Qwen/qwen3-67dd
    search:author=google,tag=gguf,license=apache-2.0
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from outlast.core.errors import BadListError, BadNameError, NotFoundError, one_line
from outlast.core.keep_list import MAX_BYTES, ListLine, Priority, read_lines
from outlast.core.names import RepoId, RepoKind, Target
from outlast.features.watch.follow import Follow, PatternKind
from outlast.store import disk
from outlast.store.archive import Archive

MAX_LISTS: Final = 100
"""Files that the setting may name."""
FOLDER: Final = "watch"
"""Below the archive's folder: what watching remembers."""
_NAME: Final = "follows.txt"
_LOCK: Final = "follows.lock"
_MODE: Final = 0o644
_SEARCH: Final = "search:"
_COLLECTIONS: Final = "collections/"
_ALL: Final = "/*"
_TERMS: Final = ("author", "tag", "license", "base_model")
_REPEATED: Final = "tag"
_MAX_TERMS: Final = 16
_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,96}\Z")
_FORMS: Final = "write org/name[@ref], org/*, collections/ORG/SLUG or search:author=ORG,tag=TAG"
_HEAD: Final = (
    "# What this archive follows: see 'outlast guide watch'. 'outlast follow' changes this file,\n"
    "# and so may you.\n"
)


# Patterns


def parse_pattern(text: str) -> Follow:
    """What a pattern names. Raises :class:`BadNameError`."""
    if text.startswith(_SEARCH):
        return Follow(text, PatternKind.SEARCH, terms=_terms(text.removeprefix(_SEARCH), text))
    if text.startswith(_COLLECTIONS):
        slug = text.removeprefix(_COLLECTIONS)
        organisation = _organisation(slug, text)
        return Follow(text, PatternKind.COLLECTION, organisation=organisation, slug=slug)
    if text.endswith(_ALL):
        name = text.removesuffix(_ALL)
        kind, name = _kind_and_rest(name)
        organisation = _organisation(f"{name}/x", text)
        return Follow(text, PatternKind.ORGANISATION, kind, organisation=organisation)
    try:
        target = Target.parse(text)
    except BadNameError as error:
        raise BadNameError(str(error), hint=_FORMS) from None
    return Follow(text, PatternKind.MODEL, target.repo.kind, target.repo, ref=target.ref)


def _kind_and_rest(name: str) -> tuple[RepoKind, str]:
    for kind in RepoKind:
        if name.startswith(f"{kind.plural}/"):
            return kind, name.removeprefix(f"{kind.plural}/")
    return RepoKind.MODEL, name


def _organisation(name: str, text: str) -> str:
    """That of ``organisation/anything``, where both can be names at a hub."""
    organisation, slash, _ = name.partition("/")
    try:
        RepoId(RepoKind.MODEL, name)
    except BadNameError:
        slash = ""
    if not slash:
        raise BadNameError(f"not a pattern: {one_line(text, 100)!r}", hint=_FORMS)
    return organisation


def _terms(text: str, pattern: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for term in text.split(","):
        key, _, value = term.partition("=")
        once = key == _REPEATED or key not in dict(found)
        if key not in _TERMS or not _VALUE.match(value) or not once or len(found) == _MAX_TERMS:
            raise BadNameError(
                f"not a search: {one_line(pattern, 200)!r} (at {one_line(term, 60)!r})",
                hint=f"terms are {', '.join(f'{known}=…' for known in _TERMS)}, each once but tag",
            )
        found.append((key, value))
    return tuple(found)


# Reading


def follows_file(home: Path) -> Path:
    """The list that `outlast follow` changes."""
    return home / FOLDER / _NAME


def read_follows(home: Path, lists: Iterable[Path]) -> tuple[Follow, ...]:
    """All that is followed: what the archive's own list says, then the keep-lists that the settings
    name, in their order. What two lists name is as the first one says. Raises
    :class:`BadListError` for the first line that is wrong, and :class:`NotFoundError` for a
    keep-list that is not there.
    """
    found = {follow.key: follow for follow in own_follows(home)}
    paths = list(lists)
    if len(paths) > MAX_LISTS:
        raise BadListError(f"more than {MAX_LISTS} keep-lists are followed", hint="join some")
    for path in paths:
        data = _read(path)
        if data is None:
            raise NotFoundError(
                f"no keep-list at {path}", hint="check the setting 'lists' of [watch]"
            )
        for follow in parse_follows(data, path.name, str(path)):
            found.setdefault(follow.key, follow)
    return tuple(found.values())


def own_follows(home: Path) -> tuple[Follow, ...]:
    """Those of the archive's own list; none where there is no list yet."""
    data = _read(follows_file(home))
    return () if data is None else parse_follows(data, _NAME, "")


def parse_follows(data: bytes, name: str, origin: str) -> tuple[Follow, ...]:
    """The lines of a list, in their order. `name` is that of the file, for messages. Raises
    :class:`BadListError`.
    """
    return tuple(follow for _, follow in _numbered(data, name, origin))


def _numbered(data: bytes, name: str, origin: str) -> Iterator[tuple[int, Follow]]:
    lines_of: dict[str, int] = {}
    for line in read_lines(data, name):
        follow = _follow(line, origin)
        if (first := lines_of.setdefault(follow.key, line.number)) != line.number:
            raise BadListError(
                f"{line.where}: {one_line(follow.text, 100)} is on line {first} already",
                hint="write all that is said of it on one line",
            )
        yield line.number, follow


def _follow(line: ListLine, origin: str) -> Follow:
    try:
        pattern = parse_pattern(line.name)
    except BadNameError as error:
        raise BadListError(f"{line.where}: {error}", hint=error.hint) from None
    return Follow(
        pattern.text,
        pattern.kind,
        pattern.what,
        pattern.repo,
        pattern.organisation,
        pattern.slug,
        pattern.terms,
        pattern.ref,
        line.globs["include"],
        line.globs["exclude"],
        line.budget,
        line.priority,
        origin,
    )


def _read(path: Path) -> bytes | None:
    with disk.reporting(path):
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise NotFoundError(f"{path} is a folder, not a list", hint="name a file") from None


# Changing


def put_follow(archive: Archive, follow: Follow) -> Follow | None:
    """Adds a follow to the archive's own list, or changes its line; returns what the line said
    before. All other lines stay as they are, and so does a comment on its own. Raises
    :class:`BadListError` for a list that is wrong already, or would be too long.
    """
    return _edit(archive, follow.key, lambda old: _line_of(follow) + _comment_of(old))


def drop_follow(archive: Archive, key: str) -> Follow | None:
    """Takes the line of a follow out of the list; returns what it said, None where there is none.
    Raises :class:`BadListError`.
    """
    return _edit(archive, key, None)


def _edit(archive: Archive, key: str, line: Callable[[str], str] | None) -> Follow | None:
    path = follows_file(archive.layout.home)
    with archive.writer() as writer, disk.reporting(path):
        disk.make_dir(path.parent)
        with disk.locked(path.with_name(_LOCK), exclusive=True):
            data = _read(path)
            old = data if data is not None else _HEAD.encode()
            new, before = _changed(old, key, line)
            if new != old:
                writer.write(path, new, _MODE)
    return before


def _changed(
    data: bytes, key: str, line: Callable[[str], str] | None
) -> tuple[bytes, Follow | None]:
    """A list with the line of one follow written anew or, without `line`, taken out; and what that
    said before. Raises :class:`BadListError`.
    """
    found = {follow.key: (number, follow) for number, follow in _numbered(data, _NAME, "")}
    at, before = found.get(key, (0, None))
    if line is None and not at:
        return data, None
    new = _edited(data, at, line)
    parse_follows(new, _NAME, "")
    return new, before


def _edited(data: bytes, at: int, line: Callable[[str], str] | None) -> bytes:
    """`data` with another line number `at` (0: one more at its end), or without it."""
    lines = data.split(b"\n")
    end = b"\r" if b"\r\n" in data else b""
    if not at:
        added = b"" if line is None else line("").encode() + end
        if lines[-1]:
            lines[-1] += end
            return b"\n".join([*lines, added, b""])
        return b"\n".join([*lines[:-1], added, b""])
    old = lines[at - 1].decode().removesuffix("\r")
    lines[at - 1 : at] = [] if line is None else [line(old).encode() + end]
    return b"\n".join(lines)


def _line_of(follow: Follow) -> str:
    words = [follow.text]
    words += [f"include={glob}" for glob in follow.include]
    words += [f"exclude={glob}" for glob in follow.exclude]
    if follow.budget is not None:
        words.append(f"budget={_size(follow.budget)}")
    if follow.priority is not Priority.NORMAL:
        words.append(f"priority={follow.priority}")
    return " ".join(words)


def _size(count: int) -> str:
    """A size in the largest unit that writes it without a fraction."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count and count % 10**power == 0:
            return f"{count // 10**power}{unit}"
    return str(count)


def _comment_of(line: str) -> str:
    """The comment at the end of a line, with the blanks before it."""
    found = re.search(r"[ \t]+#.*\Z", line)
    return found[0] if found else ""
