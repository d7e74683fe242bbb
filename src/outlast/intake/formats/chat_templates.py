"""The chat templates of a revision: where they lie, how they changed, and which of their words
deserve a look. A template is a program by the publisher of the model; none is run here.
"""

import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from outlast.codec import gguf
from outlast.codec.claims import CutShortError, OpaqueError
from outlast.codec.memory import read
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry, Revision, load_json
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)

MAX_TEMPLATE: Final = 1 << 20
"""Bytes of a template that is read. Guess: the largest that we saw has 25 KB."""
_MAX_CONFIG: Final = 16 << 20
"""Bytes of a configuration of a tokenizer. Guess: some list their tokens in it, in 2 MB."""
_MOST: Final = 64
"""Templates of one revision, and files that are looked into."""
_MOST_LINES: Final = 4000
"""Lines of a template that is compared line by line: comparing takes up to the square of them."""
_CONFIGS: Final = ("tokenizer_config.json", "chat_template.json", "processor_config.json")
_KEY: Final = "chat_template"
_GGUF_KEY: Final = "tokenizer.chat_template"
_FILE: Final = re.compile(r"(?:.*/)?(?:chat_template|additional_chat_templates/[^/]+)\.jinja2?\Z")

_WORDS: Final[Mapping[str, re.Pattern[str]]] = {
    "loads other templates": re.compile(r"\{%[-+]?\s*(?:include|import|from|extends)\b"),
    "names attributes of Python itself": re.compile(r"__\w+__|\|\s*attr\b|\bmro\b"),
    "counts up to large numbers": re.compile(r"range\s*\([^)]*\d{5}"),
    "asks for the time": re.compile(r"\bstrftime_now\b"),
    "contains a web address": re.compile(r"https?://", re.IGNORECASE),
    "contains invisible characters": re.compile(
        r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
    ),
}


Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template: `place` is the file, and in it the name of the template where it has several.
    `text` of None: it is too long to be read, with `size` bytes.
    """

    place: str
    size: int
    text: str | None

    @property
    def digest(self) -> Digest | None:
        """The sha256 of the text in UTF-8."""
        return None if self.text is None else Digest.of(self.text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class TemplateChange:
    """How the template at `place` differs between two revisions: ``added``, ``removed`` or
    ``changed``. `diff` has the lines of a unified diff.
    """

    place: str
    what: Change
    diff: tuple[str, ...]


def templates_of(archive: Archive, revision: Revision) -> list[ChatTemplate]:
    """The templates in the files of a revision that are here, by place. A file that cannot be read,
    or is none of its kind, has none.
    """
    found: list[ChatTemplate] = []
    looked = [entry for entry in revision.files if _may_have(entry)][:_MOST]
    for entry in looked:
        try:
            found += _in_file(archive, entry)
        except (OutlastError, OpaqueError, CutShortError) as error:
            _log.debug("%s: no chat template can be read: %s", entry.path, error)
    return sorted(found[:_MOST], key=lambda one: one.place)


def remarks(template: ChatTemplate) -> list[str]:
    """What in a template deserves a look: by its words alone, so hidden things may be missed."""
    if template.text is None:
        return ["is too long to be looked into"]
    return [what for what, words in _WORDS.items() if words.search(template.text)]


def changes(old: list[ChatTemplate], new: list[ChatTemplate]) -> Iterator[TemplateChange]:
    """How the templates `new` differ from `old`, by place; nothing for those that are the same."""
    before, after = ({one.place: one for one in each} for each in (old, new))
    for place in sorted({*before, *after}):
        first, last = before.get(place), after.get(place)
        if first == last:
            continue
        what: Change = "added" if first is None else "removed" if last is None else "changed"
        yield TemplateChange(place, what, tuple(_diff(place, first, last)))


def _diff(place: str, first: ChatTemplate | None, last: ChatTemplate | None) -> Iterator[str]:
    texts = ["" if one is None else one.text for one in (first, last)]
    lines = [None if text is None else text.splitlines() for text in texts]
    if any(some is None or len(some) > _MOST_LINES for some in lines):
        sizes = " to ".join(str(0 if one is None else one.size) for one in (first, last))
        yield f"too long to be compared line by line: from {sizes} bytes"
        return
    old, new = (some or [] for some in lines)
    yield from difflib.unified_diff(old, new, f"old/{place}", f"new/{place}", lineterm="")


def _may_have(entry: FileEntry) -> bool:
    name = entry.path.rpartition("/")[2]
    return (
        entry.sha256 is not None
        and entry.size > 0
        and (
            name in _CONFIGS
            or name.lower().endswith(".gguf")
            or _FILE.match(entry.path) is not None
        )
    )


def _in_file(archive: Archive, entry: FileEntry) -> Iterator[ChatTemplate]:
    assert entry.sha256 is not None
    if _FILE.match(entry.path) and entry.size > MAX_TEMPLATE:
        yield ChatTemplate(entry.path, entry.size, None)
        return
    with archive.open_blob(entry.sha256) as blob:
        if entry.path.lower().endswith(".gguf"):
            header = gguf.read_header(
                lambda at, length: read(blob, at, max(0, min(length, blob.size - at))), blob.size
            )
            yield from _in_gguf(entry.path, header)
            return
        if blob.size > _MAX_CONFIG:
            return
        data = read(blob, 0, blob.size)
    if _FILE.match(entry.path):
        yield ChatTemplate(entry.path, entry.size, bytes(data).decode("utf-8", "replace"))
        return
    document = load_json(bytes(data), _MAX_CONFIG)
    if isinstance(document, dict):
        yield from _in_config(entry.path, document.get(_KEY))


def _in_gguf(path: str, header: gguf.Header) -> Iterator[ChatTemplate]:
    for key, value in header.values.items():
        if key.startswith(_GGUF_KEY) and isinstance(value, str):
            name = key.removeprefix(_GGUF_KEY).lstrip(".")
            yield _template(f"{path}:{name}" if name else path, value)
    for key, size in header.long_texts.items():
        if key.startswith(_GGUF_KEY):
            name = key.removeprefix(_GGUF_KEY).lstrip(".")
            yield ChatTemplate(f"{path}:{name}" if name else path, size, None)


def _in_config(path: str, value: Any) -> Iterator[ChatTemplate]:
    if isinstance(value, str):
        yield _template(path, value)
    elif isinstance(value, dict):
        for name, text in value.items():
            if isinstance(text, str):
                yield _template(f"{path}:{name}", text)
    elif isinstance(value, list):
        for one in value[:_MOST]:
            if isinstance(one, dict) and isinstance(one.get("template"), str):
                yield _template(f"{path}:{one.get('name')}", one["template"])


def _template(place: str, text: str) -> ChatTemplate:
    size = len(text.encode("utf-8", "replace"))
    return ChatTemplate(place, size, text if size <= MAX_TEMPLATE else None)
