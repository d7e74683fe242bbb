"""Errors: one line whatever the hostile text, unique codes, a hint for everyone."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import (
    OutlastError,
    TransientError,
    UnreachableError,
    all_errors,
    one_line,
)

ERRORS = all_errors()
HOSTILE = [
    "a\nb",
    "a\r\nb",
    "a\x1b[2Jb",
    "a\x00b",
    "a\u2028b\u2029c\x85d\x0be\x0cf",
    "name\u202egnp.exe",
    "\ud800",
    "\x9b31m",
    "zero\u200bwidth\ufeff",
    "x" * 100_000,
    "\n" * 100_000,
]


def is_harmless(text: str) -> bool:
    return len(text.splitlines()) <= 1 and all(
        c == " " or unicodedata.category(c)[0] not in "CZ" for c in text
    )


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", [OutlastError, UnreachableError])
def test_message_and_hint_are_one_harmless_line(kind: type[OutlastError], text: str) -> None:
    error = kind(f"cannot read {text}", hint=text)
    for line in (str(error), error.hint):
        assert is_harmless(line)
        line.encode()
        assert len(line) < 10_000
    assert str(error).startswith("cannot read ")


@given(st.text())
def test_any_text_becomes_one_harmless_line(text: str) -> None:
    assert is_harmless(one_line(text))


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=500))
def test_printable_text_is_left_alone(text: str) -> None:
    assert one_line(text) == text


def test_codes_are_unique_and_greppable() -> None:
    codes = [kind.code for kind in ERRORS]
    assert len(codes) == len(set(codes)), sorted(c for c in codes if codes.count(c) > 1)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", ERRORS[1:], ids=lambda kind: kind.code)
def test_every_error_has_its_own_code_a_hint_and_its_familys_exit_status(
    kind: type[OutlastError],
) -> None:
    assert "code" in vars(kind)
    assert kind.default_hint.strip()
    assert kind("x").hint == kind.default_hint
    assert kind("x", hint="do this").hint == "do this"
    assert kind.__doc__
    families = [family for family in OutlastError.__subclasses__() if issubclass(kind, family)]
    assert [family.exit_code for family in families] == [kind.exit_code]


def test_families_have_exit_statuses_of_their_own() -> None:
    families = OutlastError.__subclasses__()
    statuses = [family.exit_code for family in families]
    assert len(statuses) == len(set(statuses))
    assert not {0, 1, 126, 127} & set(statuses)


def test_retry_after_travels_with_the_error() -> None:
    assert UnreachableError("x", retry_after=3.5).retry_after == 3.5
    assert TransientError("x").retry_after is None
