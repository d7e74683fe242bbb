"""`outlast show --template-diff`, the note of `pull`, and code in `show`."""

from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An archive with three revisions of a model; the second has another template."""
    for number, text in enumerate(("one\nsame", "two\nsame\x1b[31m", "two\nsame\x1b[31m")):
        folder = tmp_path / f"folder-{number}"
        folder.mkdir()
        (folder / "chat_template.jinja").write_text(text)
        (folder / "number").write_text(str(number))
        (folder / "modeling.py").write_text("pass")
        name = "me/one" if number == 2 else "me/two"
        inside("add", str(folder), "--as", name, home=tmp_path).ok()
    return tmp_path


def test_the_lines_that_differ_are_shown(home: Path) -> None:
    out = inside("show", "me/two", "--template-diff", home=home).ok().out
    assert out.splitlines()[0] == "changed  chat_template.jinja"
    assert "-one" in out.splitlines()
    assert "+two" in out.splitlines()
    assert "\x1b" not in out


def test_the_same_revision_does_not_differ(home: Path) -> None:
    call = inside("show", "me/two", "--template-diff", "main", home=home).ok()
    assert call.out == ""
    assert "1 chat template is the same" in call.err


def test_without_another_revision_one_has_to_be_named(home: Path) -> None:
    call = inside("show", "me/one", "--template-diff", home=home)
    call.failed("usage")
    assert "0 other revisions" in call.err


def test_code_is_shown_as_code(home: Path) -> None:
    lines = inside("show", "me/one", home=home).ok().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("modeling.py")] == ["code"]
    others = [line for line in lines if line.startswith("code") and not line.endswith(".py")]
    [digest] = others
    assert digest.endswith(": 1 Python file; 'run' uses none of them without --allow-code")


def test_a_pull_says_that_the_template_changed(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    repo = HubRepo(root, "org/m")
    notes: list[bool] = []
    with HubSim(root, mode="thread") as hub:
        for text in (b"one", b"one", b"two"):
            files = {"chat_template.jinja": text, "number": str(len(notes)).encode()}
            repo.commit(files)
            call = inside(
                "pull", "org/m", "--no-swarm", home=tmp_path, env={"HF_ENDPOINT": hub.url}
            )
            notes.append("the chat template changed: 'outlast show org/m@" in call.ok().err)
    assert notes == [False, False, True]
