"""Every command of the guide to keep-lists does what it says there, word for word."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from outlast.ops.keep import WORST_FIRST
from tests.cli.call import Call, environment, inside
from tests.codec.files import of_gguf, of_safetensors
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import check_archive, contents

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "keep.md").read_text()


def weights(size: int) -> bytes:
    """What a safetensors file may hold that does not compress."""
    return of_safetensors({"weight": ("U8", (size,), Random(size).randbytes(size))})


def quantized(blocks: int) -> bytes:
    data = Random(blocks).randbytes(20 * blocks)
    return of_gguf({"weight": ("Q4_1", (blocks, 32), data)})


MODELS: dict[str, tuple[str, dict[str, bytes]]] = {
    "Qwen/Qwen3-0.6B": ("main", {"config.json": b"{}", "model.safetensors": weights(61_000)}),
    "meta-llama/Llama-3.2-1B": (
        "v1.0",
        {
            "config.json": b"{ }",
            "model.safetensors": weights(82_000),
            "original/params.json": b"{  }",
        },
    ),
    "unsloth/gemma-3-GGUF": (
        "main",
        {
            "config.json": b"{   }",
            "gemma-3-Q4_K_M.gguf": quantized(2300),
            "gemma-3-Q8_0.gguf": quantized(4000),
        },
    ),
    "datasets/squad": ("main", {"README.md": b"# Questions\n" * 300}),
}


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found


def rows(text: str) -> list[list[str]]:
    """The models of a table: name, state, files and size."""
    found = re.findall(
        r"^(\S+/\S+) +(\w+(?:, partial)?) +[0-9a-f]{12} +(\d+) +(.+?)$", text, re.MULTILINE
    )
    return [list(row) for row in found]


def test_the_order_of_exit_statuses_is_one(tmp_path: Path) -> None:
    """That of the code, in the guide and in the help of both commands."""
    order = [kind.exit_code for kind in WORST_FIRST]
    texts = {
        "guide": GUIDE.partition("**The exit status**")[2].partition("in this order")[0],
        "sync": inside("sync", "--help", home=tmp_path).ok().out.rpartition("in this order")[2],
        "pull": inside("pull", "--help", home=tmp_path)
        .ok()
        .out.partition("in this order")[2]
        .partition(".")[0],
    }
    for name, text in texts.items():
        found = [int(number) for number in re.findall(r"\b\d+\b", text)]
        assert [number for number in found if number] == order, name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    [text] = blocks("text models.txt")
    (tmp_path / "models.txt").write_text(text)
    return tmp_path


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    root = tmp_path / "hub"
    for name, (ref, files) in MODELS.items():
        plain = name.removeprefix("datasets/")
        HubRepo(root, plain, kind="model" if plain == name else "dataset").commit(files, refs=[ref])
    HubRepo(root, "org/other").commit({"notes.txt": b"other"}, refs=["main"])
    with HubSim(root, mode="thread") as hub:
        yield hub


def test_the_guide(home: Path, hub: HubSim) -> None:
    def do(line: str) -> Call:
        words = shlex.split(line)
        assert words.pop(0) == "outlast"
        return inside(*words, home=home, env={"HF_ENDPOINT": hub.url}).ok()

    do("outlast pull org/other")
    first, *others = blocks("console")
    command, *shown = first.splitlines()
    call = do(command.removeprefix("$ "))
    assert rows(first) == rows(call.out)
    assert len(rows(first)) == len(MODELS)
    said = [line for line in shown if line not in call.out and line in call.err]
    assert len(said) + len(rows(first)) + 1 == len(shown)
    check_archive(home / "archive")
    assert "original/params.json" not in contents(home / "archive", "meta-llama/Llama-3.2-1B@v1.0")
    assert contents(home / "archive", "unsloth/gemma-3-GGUF").keys() == {
        "config.json",
        "gemma-3-Q4_K_M.gguf",
    }
    lines = [line[2:] for block in others for line in block.splitlines() if line.startswith("$ ")]
    lines = [line for line in lines if line.startswith("outlast sync ")]  # others are for nodes
    dry, done = map(do, lines)
    assert "not on the list: org/other" in dry.err
    assert "not on the list: org/other" in done.err
    assert "org/other" not in inside("ls", home=home).ok().out


def test_the_line_for_cron(home: Path, hub: HubSim) -> None:
    """As cron runs it: by sh, in the user's home; and it prints only if something is wrong."""
    [line] = blocks("crontab")
    command = line.split(None, 5)[5]
    assert "%" not in command  # a newline, for cron
    env = environment(home, HF_ENDPOINT=hub.url)
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"

    def run() -> str:
        done = subprocess.run(["sh", "-c", command], env=env, cwd=home, capture_output=True,
                              check=True)  # fmt: skip
        return (done.stdout + done.stderr).decode()

    assert run() == ""
    assert "new" in (home / "sync.log").read_text()
    (home / "models.txt").write_text("org/none\norg/other\n")
    printed = run()
    assert "org/none: error[repo-not-found]" in printed
    assert re.search(r"^org/none +failed ", printed, re.MULTILINE)
    assert re.search(r"^org/other +new ", printed, re.MULTILINE)


def test_the_timer(home: Path) -> None:
    """The unit that the guide's command writes has the timer that its next command enables."""
    install, enable = [line[2:] for line in blocks("console timer")[0].splitlines()]
    call = inside(*shlex.split(install)[1:], home=home).ok()
    assert enable in call.err
    names = [Path(path).name for path in call.out.splitlines()]
    assert names == ["outlast-sync.service", "outlast-sync.timer"]
    assert str(home / "models.txt") in Path(call.out.splitlines()[0]).read_text()


def test_the_states_of_the_guide_are_those_of_the_help(home: Path) -> None:
    text = inside("sync", "--help", home=home).ok().out
    table = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert table == re.findall(
        r"^ {4}(new|updated|completed|unchanged|failed|skipped) ", text, re.MULTILINE
    )
