"""The seam of features: each of its parts, with a feature that is handed in."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from outlast.cli.feature import Listed, commands
from outlast.cli.main import COMMANDS
from outlast.features import FEATURES
from tests.cli.call import Call, inside
from tests.features.sample import ABSENT, LISTED


def run(home: Path, *arguments: str, features: Sequence[Listed] = (LISTED, ABSENT)) -> Call:
    """Runs a command with features handed in; its archive is `home`/archive."""
    return inside(*arguments, home=home, features=features)


def configure(home: Path, text: str) -> None:
    folder = home / "config" / "outlast"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)


def test_help_lists_commands_without_importing_them(tmp_path: Path) -> None:
    out = run(tmp_path, "--help").ok().out
    assert "  greet       Print the greeting of the configuration.\n" in out
    assert "  vanish      A command that cannot be imported.\n" in out
    assert f"  ls          {COMMANDS['ls'].text}\n" in out


def test_a_command_of_a_feature(tmp_path: Path) -> None:
    assert run(tmp_path, "greet").ok().out == "hello\n"
    configure(tmp_path, '[sample]\ngreeting = "welcome"\n')
    assert run(tmp_path, "greet").ok().out == "welcome\n"
    assert "Usage: outlast greet " in run(tmp_path, "greet", "--help").ok().out


def test_a_feature_cannot_replace_a_command(tmp_path: Path) -> None:
    assert "Usage: outlast ls" in run(tmp_path, "ls", "--help").ok().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sample]\ngreet = 1\n", "[sample]: unknown key 'greet'"),
        ("sample = 1\n", "the setting 'sample' is not a table"),
        ("[simple]\n", "unknown key 'simple'"),
    ],
)
def test_a_wrong_section_is_refused(tmp_path: Path, text: str, said: str) -> None:
    configure(tmp_path, text)
    call = run(tmp_path, "gc")
    assert call.code == 2
    assert said in call.err


def test_a_section_of_a_feature_that_is_not_there(tmp_path: Path) -> None:
    configure(tmp_path, "[sample]\n")
    call = run(tmp_path, "gc", features=())
    assert call.code == 2
    assert "unknown key 'sample'" in call.err


def test_findings_for_the_doctor(tmp_path: Path) -> None:
    call = run(tmp_path, "doctor", features=[LISTED])
    assert call.code == 1  # the finding is WRONG
    assert "looked at archive" in call.out
    assert "  sample: mend it\n" in call.out


@pytest.mark.parametrize("listed", [*FEATURES, LISTED], ids=lambda listed: listed.name)
def test_each_feature_can_be_loaded(listed: Listed) -> None:
    feature = listed.load()
    feature.settings({})
    for part in ("mounts", "services", "checks"):
        assert callable(getattr(feature, part))


def test_the_commands_of_features_have_names_of_their_own() -> None:
    names = [name for listed in FEATURES for name in listed.commands]
    assert len({*names, *COMMANDS}) == len(names) + len(COMMANDS)
    assert commands(FEATURES).keys() == set(names)
