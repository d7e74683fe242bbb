"""Whether two models have one tokenizer and one chat template."""

from dataclasses import dataclass
from typing import Final

import msgspec

from outlast.codec.memory import read
from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.store.archive import Archive

_FILES: Final = ("tokenizer.json", "tokenizer.model")
_TEMPLATE: Final = "chat_template.jinja"
_CONFIG: Final = "tokenizer_config.json"


class _Vocabulary(msgspec.Struct):
    vocab: dict[str, int]


class _Tokenizer(msgspec.Struct):
    model: _Vocabulary


class _Configuration(msgspec.Struct):
    chat_template: str | list[dict[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class TokenizerLikeness:
    """`same`: the files are equal, or all that is known of them is. `shared`: tokens that have the
    same number in both, as a share of the smaller vocabulary; None where no vocabulary is read.
    `template`: whether the chat templates are equal; None where one has none.
    """

    same: bool
    shared: float | None
    template: bool | None


def tokenizer_likeness(
    archive: Archive, one: Revision, other: Revision, tuning: Tuning = TUNING
) -> TokenizerLikeness | None:
    """None where one of the two has no file of a tokenizer that is read (GGUF has its own inside).
    What is damaged or malformed counts as missing.
    """
    mine, theirs = _template(archive, one, tuning), _template(archive, other, tuning)
    template = None if mine is None or theirs is None else mine == theirs
    for path in _FILES:
        first, second = one.find(path), other.find(path)
        if first is None or second is None:
            continue
        if first.sha256 is not None and first.sha256 == second.sha256:
            return TokenizerLikeness(same=True, shared=1.0, template=template)
        vocabularies = _vocabulary(archive, first, tuning), _vocabulary(archive, second, tuning)
        if not vocabularies[0] or not vocabularies[1]:
            return TokenizerLikeness(same=False, shared=None, template=template)
        shared = sum(vocabularies[1].get(token) == at for token, at in vocabularies[0].items())
        share = shared / min(map(len, vocabularies))
        return TokenizerLikeness(same=False, shared=share, template=template)
    return None


def _vocabulary(archive: Archive, entry: FileEntry, tuning: Tuning) -> dict[str, int]:
    data = _bytes(archive, entry, tuning)
    try:
        return msgspec.json.decode(data, type=_Tokenizer).model.vocab
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def _template(archive: Archive, revision: Revision, tuning: Tuning) -> object:
    """The template as it stands, compared for equality alone; None for none."""
    alone = revision.find(_TEMPLATE)
    if alone is not None:
        return alone.sha256
    entry = revision.find(_CONFIG)
    if entry is None:
        return None
    try:
        found = msgspec.json.decode(_bytes(archive, entry, tuning), type=_Configuration)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found.chat_template


def _bytes(archive: Archive, entry: FileEntry, tuning: Tuning) -> bytes:
    if entry.sha256 is None or entry.size > tuning.tokenizer or not archive.lies_here(entry):
        return b""
    try:
        with archive.open_blob(entry.sha256) as blob:
            return read(blob, 0, blob.size)
    except OutlastError:
        return b""
