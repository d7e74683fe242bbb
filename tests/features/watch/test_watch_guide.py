"""What the guide to watching shows is what happens, command by command."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.follows import follows_file, parse_follows
from outlast.features.watch.polls.schedule import TUNING
from outlast.features.watch.settings import read_settings
from outlast.features.watch.telling.alerts import HeldCommits, alert_of
from tests.cli.call import Call, inside
from tests.hubsim import HubRepo, HubSim

GUIDE = (Path(__file__).parents[3] / "docs" / "guide" / "watch.md").read_text()
MODELS = {
    "Qwen/Qwen3-0.6B": 61_000,
    "meta-llama/Llama-3.2-1B": 82_000,
    "meta-llama/Llama-Guard-3-8B": 61_000,
}


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    root = tmp_path / "hub"
    for name, size in MODELS.items():
        HubRepo(root, name).commit({"model.bin": bytes(size)}, refs=["main"])
    with HubSim(root, mode="thread") as hub:
        yield hub


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(TUNING, pace=0.0, rest=0.0)
    monkeypatch.setattr("outlast.features.watch.assemble.TUNING", quick)


def without_space(text: str) -> str:
    return re.sub(r"\S+ \S+ are free", "SPACE", text)


def test_the_commands(tmp_path: Path, hub: HubSim) -> None:
    def do(line: str) -> Call:
        words = shlex.split(line)
        assert words.pop(0) == "outlast"
        return inside(*words, home=tmp_path, env={"HF_ENDPOINT": hub.url}).ok()

    do("outlast pull Qwen/Qwen3-0.6B --no-swarm")
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            call = do(command)
            if shown:
                assert without_space(shown) == without_space(call.out)
    assert "not given out" in do("outlast ls").out
    assert follows_file(tmp_path / "archive").read_text().endswith("\nQwen/Qwen3-0.6B budget=5GB\n")


def test_the_list() -> None:
    (text,) = blocks("text follows.txt")
    found = parse_follows(text.encode(), "follows.txt", "")
    assert [follow.text for follow in found] == [
        "Qwen/Qwen3-0.6B",
        "meta-llama/*",
        "datasets/squad",
    ]


def test_the_settings() -> None:
    for text in blocks("toml"):
        read_settings(tomllib.loads(text)["watch"])


def test_the_alert() -> None:
    (text,) = blocks("text alert")
    change = Change(
        ChangeKind.DELETED,
        "https://huggingface.co",
        "2026-11-30T09:20:14+00:00",
        RepoId.parse("meta-llama/Llama-3.2-1B"),
        reason="Repository not found",
    )
    assert alert_of(change, HeldCommits(frozenset({"a" * 40}))).text() == text
