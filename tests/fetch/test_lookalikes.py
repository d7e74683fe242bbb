"""Names that may be taken for a known one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.names import RepoId
from outlast.fetch.lookalikes import lookalike, skeleton

NAMES = ("mistralai/Mistral-7B", "Qwen/Qwen3-8B", "gpt2", "google/gemma")
KNOWN = [RepoId.parse(name) for name in NAMES]


@pytest.mark.parametrize(
    ("name", "taken_for"),
    [
        ("mistra1ai/Mistral-7B", "mistralai/Mistral-7B"),
        ("mistralai/Mistral_7B", "mistralai/Mistral-7B"),
        ("rnistralai/other", "mistralai/Mistral-7B"),
        ("mistarlai/other", "mistralai/Mistral-7B"),
        ("mistrallai/x", "mistralai/Mistral-7B"),
        ("g00gle/gemma", "google/gemma"),
        ("goggle/x", "google/gemma"),
        ("googl/x", "google/gemma"),
        ("Qvven/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("MISTRALAI/mistral-7b", None),  # for hubs the same model
        ("mistralai/Mistral-8B", None),  # another model of a known organisation
        ("Qwen/Qwen3-4B", None),
        ("qwem/x", None),  # too short for slips
        ("meta-llama/x", None),
        ("gpt3", None),
    ],
)
def test_what_it_is_taken_for(name: str, taken_for: str | None) -> None:
    found = lookalike(RepoId.parse(name), KNOWN)
    assert (None if found is None else str(found)) == taken_for


def test_nothing_is_taken_for_itself() -> None:
    for one in KNOWN:
        assert lookalike(one, KNOWN) is None
        assert lookalike(one, []) is None


_NAMES = st.from_regex(r"[a-z0-9][a-z0-9_]{5,20}", fullmatch=True)


@given(_NAMES, st.data())
def test_each_slip_is_told(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(("", "k", name[at] + "k", name[at : at + 2][::-1])))
    end = at + (2 if len(letter) == 2 and letter != name[at] + "k" else 1)
    changed = name[:at] + letter + name[end:]
    if changed != name and changed:
        known = [RepoId.parse(f"{name}/m")]
        assert lookalike(RepoId.parse(f"{changed}/n"), known) == known[0]


@given(_NAMES)
def test_a_skeleton_has_one_form(name: str) -> None:
    assert skeleton(name.upper()) == skeleton(name)
