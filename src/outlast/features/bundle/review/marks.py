"""Which files of a model deserve a look before it is used: by name, and by words in small files."""

import re
from enum import StrEnum
from typing import Final


class Mark(StrEnum):
    """Why a file deserves a look, as the pages say it."""

    CODE = "code"
    BINARY = "native code"
    PICKLE = "may be a pickle"
    TEMPLATE = "chat template"
    REMOTE = "names code to run"
    PACKED = "packed files"


MEANING: Final = {
    Mark.CODE: "Source code or a notebook. Nothing runs it by itself; read it before you do.",
    Mark.BINARY: "A program or library for a processor.",
    Mark.PICKLE: "Loading a pickle runs code that is in it. Prefer safetensors and GGUF.",
    Mark.TEMPLATE: "Shapes what a model is told. GGUF files have theirs inside.",
    Mark.REMOTE: "`auto_map`: transformers runs that code if `trust_remote_code` is on.",
    Mark.PACKED: "Its contents are not listed here.",
}

_SUFFIXES: Final = {
    Mark.CODE: "bash bat c cc cmd cpp cu go h hpp ipynb java jl js lua mjs php pl ps1 py pyc r rb"
    " rs sh ts vbs",
    Mark.BINARY: "app deb dll dylib exe jar msi node pyd rpm so wasm whl",
    Mark.PICKLE: "bin ckpt dill joblib npy npz pickle pkl pt pth",
    Mark.TEMPLATE: "j2 jinja jinja2",
    Mark.PACKED: "7z bz2 gz rar tar tgz xz zip zst",
}
_BY_SUFFIX: Final = {
    suffix: mark for mark, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}
_WORDS: Final = {
    "tokenizer_config.json": (b'"chat_template"', Mark.TEMPLATE),
    "chat_template.json": (b"", Mark.TEMPLATE),
    "config.json": (b'"auto_map"', Mark.REMOTE),
}
"""By name of a file: with these words in it, it is marked."""
_LICENCE: Final = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|USE_POLICY)([._-].*)?\Z", re.IGNORECASE)
MAX_TEXT: Final = 1 << 20
"""Bytes of a small file that is looked into."""


def mark_of(path: str, data: bytes | None = None) -> Mark | None:
    """The mark of a file; `data`: its bytes, where :func:`is_looked_into`."""
    name = path.rpartition("/")[2].lower()
    words, mark = _WORDS.get(name, (b"", None))
    if mark is not None and words in (data or b""):
        return mark
    return _BY_SUFFIX.get(name.rpartition(".")[2]) if "." in name else None


def is_looked_into(path: str, size: int) -> bool:
    """Whether a file's bytes say more of it than its name."""
    name = path.rpartition("/")[2].lower()
    return size <= MAX_TEXT and (name in _WORDS or name == "readme.md" or is_licence(path))


def is_licence(path: str) -> bool:
    return "/" not in path and _LICENCE.match(path) is not None
