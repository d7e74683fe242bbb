"""The table of mutants follows the code."""

from pathlib import Path

import pytest

from tests.mutants.table import MUTANTS, Mutant, PatternError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "outlast"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name))
def test_each_changes_one_place(mutant: Mutant) -> None:
    path, changed = mutant.place(SOURCE)
    assert changed != path.read_text(encoding="utf-8")
    compile(changed, str(path), "exec")
    named = [word for word in mutant.tests.split() if word.startswith("tests")]
    assert named
    assert [word for word in named if not (ROOT / word.partition("::")[0]).exists()] == []


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 40


@pytest.mark.parametrize("text", ["", "x = 1\nx = 1\n"])
def test_a_pattern_that_fits_no_more(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(PatternError):
        Mutant("name", "promise", "x = 1", "x = 2", "tests").place(tmp_path)
