"""Which bases a model's cards name, also where a card is written so that they are overlooked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.intake.base_names import UNREAD_BASE, BaseNames, read_card
from outlast.intake.judging import subject_of
from outlast.store.archive import Archive
from tests.features.trust.rules.world import attributes
from tests.serve.peers import archive_files

REPO = RepoId.parse("org/name")
BASE = RepoId.parse("acme/base")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive", create=True) as made:
        yield made


@pytest.mark.parametrize(
    "front",
    [
        "base_model: acme/base",
        '"base_model": acme/base',
        "'base_model' : 'acme/base'",
        "base_model: [other/x,\n  acme/base]",
        "base_model: # a remark\n- acme/base",
        "base_model:\n- other/x\n# a remark\n\n- acme/base",
        "base_model:\n  - other/x\n  - acme/base",
        "  base_model: acme/base",
        "base_model: other/x\nbase_model: acme/base",
    ],
)
@pytest.mark.parametrize("before", ["", "\ufeff", "\n\n"])
def test_a_base_is_found_however_it_is_written(front: str, before: str) -> None:
    assert BASE in read_card("README.md", f"{before}---\n{front}\n---\n# x\n".encode())


HIDDEN = (
    "{base_model: acme/base}",
    "? base_model\n: acme/base",
    '"base\\u005fmodel": acme/base',
    "base_model: &x acme/base",
    "base_model: >\n  acme/base",
    "base_model: |\n  acme/base",
    "<<: *all",
    "base_model:\n" + "".join(f"- o/m{n}\n" for n in range(8)) + "- acme/base",
    "x: " + "y" * 70_000 + "\nbase_model: acme/base",
)


@pytest.mark.parametrize("front", HIDDEN)
def test_what_may_hide_a_base_is_said_to_be_unread(archive: Archive, front: str) -> None:
    """Rules then know that there may be more: `listed_base` is unknown, not none."""
    archive_files(archive, REPO, {"README.md": f"---\n{front}\n---\n".encode()})
    names = BaseNames(archive, REPO)
    names.learn_revision(archive.revision(REPO))
    assert names.unread or BASE in names.all()
    if BASE not in names.all():
        found = subject_of(archive, archive.revision(REPO)).base_models
        assert UNREAD_BASE in found
        assert attributes(base_models=found)["listed_base"] == "unknown"


def test_an_ordinary_card_is_read_whole(archive: Archive) -> None:
    card = b"---\nlicense: mit\nwidget:\n- text: '*x*'\nbase_model: acme/base\n---\n# x\n"
    archive_files(archive, REPO, {"README.md": card})
    assert subject_of(archive, archive.revision(REPO)).base_models == ("acme/base",)


def test_a_long_card_has_a_base_all_the_same(archive: Archive) -> None:
    card = b"---\nbase_model: acme/base\n---\n" + b"x" * (2 << 20)
    archive_files(archive, REPO, {"README.md": card})
    assert subject_of(archive, archive.revision(REPO)).base_models == ("acme/base",)
