"""Help that a newcomer understands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from outlast.cli.main import COMMANDS
from outlast.core.errors import all_errors
from tests.cli.call import inside


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, flag: str, tmp_path: Path) -> None:
    call = inside(command, flag, home=tmp_path).ok()
    assert call.err == ""
    assert call.out.startswith(f"Usage: outlast {command} ")
    lines = call.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "Examples:" in [line.strip() for line in lines]
    examples = call.out.split("Examples:")[1]
    assert len(re.findall(rf"outlast {command}\b", examples)) >= 1
    about = call.out.split("Options:")[0].splitlines()[1:]
    assert len(" ".join(about).split()) >= 5
    for option in re.findall(r"^  (?:-\w, )?--[a-z-]+.*$", call.out, re.MULTILINE):
        assert re.search(r"  \S|^.{25,}$", option.strip()), f"{option!r} says nothing"
    assert not list(tmp_path.iterdir())


def test_the_first_page(tmp_path: Path) -> None:
    call = inside("--help", home=tmp_path).ok()
    for command, (_, text) in COMMANDS.items():
        assert re.search(rf"^  {command} +{re.escape(text)}$", call.out, re.MULTILINE)
    for heading in ("Usage: outlast", "Commands:", "Examples:", "Exit status:"):
        assert heading in call.out
    assert max(map(len, call.out.splitlines())) <= 100


def test_the_first_page_names_every_exit_status(tmp_path: Path) -> None:
    text = inside("--help", home=tmp_path).ok().out.split("Exit status:")[1]
    told = {int(number) for number in re.findall(r"\b\d+\b", text)}
    used = {0, *(error.exit_code for error in all_errors())}
    assert "6 is not used" in text
    assert 6 not in used
    assert told == used | {6}


def test_without_a_command_it_shows_the_first_page(tmp_path: Path) -> None:
    call = inside(home=tmp_path)
    assert call.code in {0, 2}
    assert "Usage: outlast" in call.out + call.err
    assert "Commands:\n" in call.out + call.err
    assert "error[" not in call.err
    assert "\\n" not in call.out + call.err


def test_the_version(tmp_path: Path) -> None:
    call = inside("--version", home=tmp_path).ok()
    assert re.fullmatch(r"outlast, version \d+\.\d+\.\d+\S*\n", call.out)


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_any_width(tmp_path: Path, width: str) -> None:
    call = inside("pull", "--help", home=tmp_path, env={"COLUMNS": width}).ok()
    assert "Usage: outlast pull" in call.out


def test_help_needs_no_archive_and_no_good_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("this is not TOML")
    env = {"OUTLAST_CONFIG": str(config), "HF_ENDPOINT": "nonsense", "OUTLAST_HOME": "/proc/nope"}
    for command in COMMANDS:
        inside(command, "--help", home=tmp_path, env=env).ok()


def test_the_first_page_loads_no_command() -> None:
    """Help is asked for often: it must cost little more than the interpreter and click."""
    script = (
        "import sys, contextlib\n"
        "from outlast.__main__ import run\n"
        "sys.argv[1:] = ['--help']\n"
        "with contextlib.suppress(SystemExit): run()\n"
        "print(*sorted(sys.modules), sep='\\n', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Commands:" in done.stdout
    loaded = set(done.stderr.split())
    assert {"outlast.cli.main", "click"} <= loaded
    ours = {name for name in loaded if name.startswith("outlast.")}
    rooms = {"outlast.cli", "outlast.core", "outlast.features"}
    modules = {"outlast.__main__", "outlast.cli.main", "outlast.cli.feature"}
    modules |= {"outlast.cli.options", "outlast.cli.options.debug"}
    allowed = rooms | modules | {"outlast.core.errors"}
    assert ours - allowed == set()
    slow = {"aiohttp", "libtorrent", "rich", "urllib3", "msgspec", "platformdirs", "asyncio"}
    assert slow & loaded == set()


@pytest.mark.parametrize(
    "module",
    [
        "outlast.features.durability.commands.scrub",
        "outlast.features.bundle.commands.export",
        "outlast.features.bundle.commands.import_bundle",
    ],
)
def test_what_works_on_a_disk_loads_no_network(module: str) -> None:
    """That takes twice as long as all the rest of their start."""
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    slow = {"aiohttp", "libtorrent", "urllib3", "tuf", "importlib.metadata", "outlast.app"}
    assert slow & set(done.stdout.split()) == set()


def test_what_keeps_evidence_loads_no_catalogues(tmp_path: Path) -> None:
    """Where none is followed: their library takes a third of the time of all other modules."""
    script = (
        "import contextlib, sys\n"
        "from outlast.__main__ import run\n"
        "with contextlib.suppress(SystemExit): run()\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.txt").write_text("text")

    def loaded(*words: str | Path) -> set[str]:
        environment = {**os.environ, "OUTLAST_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", script, *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, env=environment
        )
        return set(done.stderr.split())

    loaded("add", tmp_path / "model", "--as", "org/model")
    exported = loaded("export", "org/model", "--to", tmp_path / "usb")
    imported = loaded("import", tmp_path / "usb", "--home", tmp_path / "other")
    assert "outlast.features.bundle.export" in exported
    assert "outlast.features.trust.evidence.recorder" in imported
    assert (exported | imported) & {"tuf", "importlib.metadata"} == set()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["snyc"], "did you mean 'outlast sync'?"),
        (["zzzz"], "see 'outlast --help'"),
        (["config", "--force"], "see 'outlast config --help'"),
        (["pull", "org/name", "-f", "list"], "see 'outlast pull --help'"),
    ],
)
def test_a_wrong_call_says_where_help_is(arguments: list[str], hint: str, tmp_path: Path) -> None:
    call = inside(*arguments, home=tmp_path)
    call.failed("usage")
    assert f"(hint: {hint})" in call.err
