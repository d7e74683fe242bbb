"""Shell completion: the scripts, and what they are answered."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlast.cli.main import COMMANDS
from tests.cli.call import environment, inside


def complete(home: Path, *words: str, shell: str = "bash") -> list[str]:
    """What the last of `words` may become, as a shell's script would ask."""
    env = {
        "_OUTLAST_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["outlast", *words]),
        "COMP_CWORD": str(len(words)) if shell != "fish" else words[-1],
    }
    call = inside(home=home, env=env)
    assert call.err == ""
    if shell == "zsh":
        return call.out.splitlines()[1::3]
    lines = list(filter(None, call.out.splitlines()))
    return [line.partition(",")[2].partition("\t")[0] for line in lines]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed(tmp_path: Path, shell: str) -> None:
    call = inside("completion", shell, home=tmp_path).ok()
    assert "_OUTLAST_COMPLETE" in call.out
    assert f"{shell}_complete" in call.out
    assert call.err == ""
    if path := shutil.which(shell):
        subprocess.run([path, "-n"], input=call.out, text=True, check=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands(home: Path, shell: str) -> None:
    assert complete(home, "sho", shell=shell) == ["show"]
    assert set(complete(home, "", shell=shell)) >= COMMANDS.keys()
    assert complete(home, "nope", shell=shell) == []


@pytest.mark.parametrize("command", ["show", "rm", "link", "verify", "run"])
def test_models(home: Path, command: str) -> None:
    assert complete(home, command, "") == ["me/mine", "me/other"]
    assert complete(home, command, "me/o") == ["me/other"]
    assert complete(home, command, "x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_refs(home: Path, shell: str) -> None:
    assert complete(home, "show", "me/other@", shell=shell) == ["me/other@v1.0"]
    assert complete(home, "show", "me/other@x", shell=shell) == []


def test_options(home: Path) -> None:
    assert "--dry-run" in complete(home, "pull", "--d")
    assert {"--json", "--home"} <= set(complete(home, "ls", "--"))
    assert complete(home, "completion", "b") == ["bash"]


def test_another_archive(home: Path, tmp_path: Path) -> None:
    assert complete(home, "show", "--home", str(tmp_path / "archive"), "me/m") == ["me/mine"]
    assert complete(home, "show", "--home", str(tmp_path / "none"), "me/m") == []


@pytest.mark.parametrize("word", ["a\nb", "..", "@", "me/other@@", "\x1b", "me/mine@a..b", "/"])
def test_hostile_words(home: Path, word: str) -> None:
    assert complete(home, "show", word) in ([], ["me/mine", "me/other"], ["me/other@v1.0"])


def test_no_archive_no_config(tmp_path: Path) -> None:
    assert complete(tmp_path, "show", "m") == []
    config = tmp_path / "config" / "outlast" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("not toml")
    assert complete(tmp_path, "show", "m") == []


def test_in_a_real_bash(home: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    (home / "bin").mkdir()
    command = home / "bin" / "outlast"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m outlast "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(outlast completion bash)"\n'
        "COMP_WORDS=(outlast show me/m); COMP_CWORD=2\n"
        '_outlast_completion outlast\necho "${COMPREPLY[@]}"\n'
    )
    env = environment(home)
    env["PATH"] = f"{home / 'bin'}:{env['PATH']}"
    done = subprocess.run([bash, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["me/mine"]
