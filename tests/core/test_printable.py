"""Text that a terminal may show."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.printable import Printable, printable

WRITING = {
    "a family, joined by U+200D": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a heart, with a variation selector": "\u2764\ufe0f",
    "a flag of letters": "\U0001f1eb\U0001f1f7",
    "the flag of Wales, of tags": "\U0001f3f4"
    "\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
    "Persian with a non-joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Sinhala with a joiner": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Hebrew with a mark": "\u05e9\u05dc\u05d5\u05dd\u200e (1)",
    "combining accents": "e\u0301 n\u0303",
    "soft hyphen and word joiner": "in\u00adter\u2060est",
    "an emoji that is newer than this Python's tables": "\U0001fae9",
    "not assigned yet": "\U0001faff",
    "private use": "\ue0b0",
    "spaces": "a\u00a0b\u3000c\td\ne",
}
STEERING = {
    "ESC": "\x1b[2J",
    "bell": "\a",
    "backspace": "\b",
    "carriage return": "safe\revil",
    "form feed": "\f",
    "NUL": "\0",
    "DEL": "\x7f",
    "CSI as one character": "\x9b2J",
    "OSC as one character": "\x9d0;x\x9c",
    "next line": "\x85",
    "override": "\u202e",
    "embedding": "\u202a",
    "isolate": "\u2067",
    "deprecated": "\u206f",
    "half of a pair": "\ud83d",
    "annotation": "\ufffb",
}


@pytest.mark.parametrize("text", WRITING.values(), ids=list(WRITING))
def test_writing_survives(text: str) -> None:
    assert printable(text) == text
    stream = Printable()
    assert "".join(map(stream.feed, text)) + stream.end() == text


@pytest.mark.parametrize("text", STEERING.values(), ids=list(STEERING))
def test_what_steers_the_terminal_is_barred(text: str) -> None:
    shown = printable(text)
    assert "\ufffd" in shown
    stream = Printable()
    assert "".join(map(stream.feed, text)) + stream.end() == shown


def test_ends_of_lines() -> None:
    assert printable("a\r\nb\u2028c\u2029d") == "a\nb\nc\nd"
    stream = Printable()
    assert stream.feed("a\r") + stream.feed("\nb\r") + stream.end() == "a\nb\ufffd"


@given(st.lists(st.text(max_size=5), max_size=8))
def test_where_a_stream_is_cut_changes_nothing(pieces: list[str]) -> None:
    stream = Printable()
    shown = "".join(map(stream.feed, pieces)) + stream.end()
    assert shown == printable("".join(pieces))
    shown.encode()
    assert not {c for c in shown if unicodedata.category(c) == "Cc"} - {"\n", "\t"}
    assert not {c for c in shown if unicodedata.bidirectional(c) in BIDI}


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
