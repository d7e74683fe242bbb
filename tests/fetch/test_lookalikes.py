"""Names that may be taken for a known one."""

import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.digest import GitOid
from outlast.core.names import KnownName, RepoId
from outlast.fetch.lookalikes import (
    ARCHIVED,
    KnownNameIndex,
    lookalike,
    lookalike_warning,
    skeleton,
)
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref

NAMES = ("mistralai/Mistral-7B", "Qwen/Qwen3-8B", "gpt2", "google/gemma")
KNOWN = [RepoId.parse(name) for name in NAMES]


def index_of(names: Iterable[str]) -> KnownNameIndex:
    return KnownNameIndex(KnownName(name, ARCHIVED) for name in names)


def taken_for(name: str, index: KnownNameIndex) -> str | None:
    repo = RepoId.parse(name)
    found = index.like(repo, by_organisation=not index.has_organisation(repo))
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mistra1ai/Mistral-7B", "mistralai/Mistral-7B"),
        ("mistralai/Mistral_7B", "mistralai/Mistral-7B"),
        ("rnistralai/other", "mistralai/Mistral-7B"),
        ("mistarlai/other", "mistralai/Mistral-7B"),
        ("mistrallai/x", "mistralai/Mistral-7B"),
        ("g00gle/gemma", "google/gemma"),
        ("goggle/x", "google/gemma"),
        ("googl/x", "google/gemma"),
        ("goolge/x", "google/gemma"),
        ("Qvven/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("datasets/g00gle/gemma", "google/gemma"),
        ("MISTRALAI/mistral-7b", None),  # for hubs the same model
        ("mistralai/Mistral-8B", None),  # another model of a known organisation
        ("Qwen/Qwen3-4B", None),
        ("qwem/x", None),  # too short for slips
        ("meta-llama/x", None),
        ("gpt3", None),
        ("gpt2/x", None),  # `gpt2` is no organisation
    ],
)
def test_what_it_is_taken_for(name: str, found: str | None) -> None:
    assert taken_for(name, index_of(NAMES)) == found


def test_nothing_is_taken_for_itself() -> None:
    for one in NAMES:
        assert taken_for(one, index_of(NAMES)) is None
        assert taken_for(one, index_of([])) is None


_NAMES = st.from_regex(r"[a-z0-9][a-z0-9_]{5,20}", fullmatch=True)


@given(_NAMES, st.data())
def test_each_slip_is_told(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(("", "k", name[at] + "k", name[at : at + 2][::-1])))
    end = at + (2 if len(letter) == 2 and letter != name[at] + "k" else 1)
    changed = name[:at] + letter + name[end:]
    if changed != name and changed:
        assert taken_for(f"{changed}/n", index_of([f"{name}/m"])) == f"{name}/m"


@given(_NAMES)
def test_a_skeleton_has_one_form(name: str) -> None:
    assert skeleton(name.upper()) == skeleton(name)


class Listed:
    """Names that a catalogue lists, or the operator pinned."""

    def __init__(self, *names: KnownName) -> None:
        self.said = names

    def stamp(self) -> object:
        return self.said

    def names(self) -> Iterable[KnownName]:
        return self.said


def archived(archive: Archive, *names: str) -> None:
    with archive.writer() as writer:
        for name in names:
            archive.refs.put(writer, RepoId.parse(name), Ref("main", GitOid("a" * 40)))


def said(archive: Archive, name: str) -> str:
    found = lookalike(archive, RepoId.parse(name))
    return "" if found is None else f"{found.name} {found.where}"


def test_names_of_others_count(tmp_path: Path) -> None:
    with Archive(tmp_path / "archive", create=True) as archive:
        archived(archive, "google/gemma")
        assert said(archive, "mistra1ai/x") == ""
        archive.known_names = Listed(KnownName("mistralai/Mistral-7B", "listed by shelf"))
        assert said(archive, "mistra1ai/x") == "mistralai/Mistral-7B listed by shelf"
        assert said(archive, "mistralai/other") == ""
        assert said(archive, "g00gle/x") == f"google/gemma {ARCHIVED}"
        archive.known_names = Listed(KnownName("acmeworks", "pinned", trusted=True))
        assert said(archive, "acrneworks/x") == "acmeworks pinned"
        assert said(archive, "mistra1ai/x") == ""


def test_a_list_of_others_hides_no_likeness_to_what_is_here(tmp_path: Path) -> None:
    with Archive(tmp_path / "archive", create=True) as archive:
        archived(archive, "google/gemma")
        archive.known_names = Listed(
            KnownName("goog1e/gemma", "listed by shelf"), KnownName("goog1e/x", "listed by shelf")
        )
        assert said(archive, "goog1e/gemma") == f"google/gemma {ARCHIVED}"
        assert said(archive, "goog1e/new") == f"google/gemma {ARCHIVED}"


def test_what_is_archived_already_is_compared_with_the_rest(tmp_path: Path) -> None:
    with Archive(tmp_path / "archive", create=True) as archive:
        archived(archive, "google/gemma", "goog1e/gemma")
        assert said(archive, "goog1e/gemma") == f"google/gemma {ARCHIVED}"
        archive.known_names = Listed(KnownName("google", "pinned", trusted=True))
        assert said(archive, "goggle/gemma") == "google pinned"
        assert lookalike_warning(archive, RepoId.parse("acme/x")) == ""


def test_twenty_thousand_names_cost_next_to_nothing(tmp_path: Path) -> None:
    """Of a list that was made to be slow: all organisations share a half."""
    with Archive(tmp_path / "archive", create=True) as archive:
        names = [f"organisation{n:05}/model-{n}" for n in range(20_000)]
        archive.known_names = Listed(*(KnownName(name, "listed by shelf") for name in names))
        assert said(archive, "organisati0n00007/model-7") == f"{names[7]} listed by shelf"
        began = time.process_time()
        for n in range(100):
            said(archive, f"organisation0000x{n}/model")
        assert (time.process_time() - began) / 100 < 0.05  # 10 times the aim, for a busy machine
