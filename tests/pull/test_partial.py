"""Archives of some of a commit's files: marked partial everywhere, and completed later."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.names import MAX_PATH
from tests.hubsim import HubRepo, HubSim
from tests.hubsim.generate import HOSTILE_NAMES, UNSAFE_NAMES, WIDE_NAMES
from tests.pull.kit import FILES, TOTAL, Puller, check_pulled, contents, sent
from tests.serve.node import Node
from tests.warm.calls import outlast


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        (["*.json"], [], {"config.json", "sub/tokenizer.json"}),
        ([], ["*.safetensors", "*.bin"], {"config.json", "README.md", "sub/tokenizer.json", "e"}),
        (["sub/"], [], {"sub/tokenizer.json"}),
        (["*.json", "README.md"], ["sub/*"], {"config.json", "README.md"}),
        (["model.safetensors"], [], {"model.safetensors"}),
    ],
)
def test_only_what_is_wanted_is_fetched(
    hub: HubSim, pull: Puller, include: list[str], exclude: list[str], wanted: set[str]
) -> None:
    paths = {"empty.txt" if path == "e" else path for path in wanted}
    result = pull("org/name", hub.url, include=include, exclude=exclude)
    assert result.partial
    assert sent(hub) == sum(len(FILES[path]) for path in paths)
    held = contents(pull.home)
    assert {path: data for path, data in held.items() if data} == {
        path: FILES[path] for path in paths if FILES[path]
    }


def test_a_second_pull_completes_it(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url, include=["*.json", "*.safetensors"])
    first = sent(hub)
    result = pull("org/name", hub.url)
    assert not result.partial
    assert sent(hub) == TOTAL
    assert sum(result.fetched.values()) == TOTAL - first
    check_pulled(pull.home)
    assert len(list((pull.home / "manifests").iterdir())) == 1


def test_it_grows_and_does_not_shrink(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url, include=["config.json"])
    pull("org/name", hub.url, include=["README.md"])
    assert {"config.json", "README.md"} <= contents(pull.home).keys()
    result = pull("org/name", hub.url, include=["config.json"])
    assert result.partial
    assert {"config.json", "README.md"} <= contents(pull.home).keys()
    pull("org/name", hub.url)
    assert not pull("org/name", hub.url, include=["config.json"]).partial
    check_pulled(pull.home)
    assert sent(hub) == TOTAL


def test_it_is_shown_everywhere(hub: HubSim, tmp_path: Path) -> None:
    call = outlast("pull", "org/name", "--from", hub.url, "--include", "*.json", home=tmp_path).ok()
    assert "PARTIAL" in call.err
    assert "partial (lacks" in outlast("ls", home=tmp_path).ok().out
    assert outlast("ls", "--json", home=tmp_path).ok().result["partial"] is True
    shown = outlast("show", "org/name", home=tmp_path).ok().out
    assert re.search(r"PARTIAL \(lacks (1 file|[0-9]+ files)\)", shown)
    assert "(lacks 1 files)" not in shown
    assert "missing" in shown
    document = outlast("show", "org/name", "--json", home=tmp_path).ok().result
    assert document["partial"] is True
    assert "model.safetensors" in {entry["path"] for entry in document["missing"]}
    linked = outlast("link", "org/name", home=tmp_path).ok()
    assert "PARTIAL" in linked.err
    assert outlast("link", "org/name", "--json", home=tmp_path).ok().result["partial"] is True


def test_a_hostile_repo_gives_what_is_harmless(hub: HubSim, pull: Puller) -> None:
    files = {"config.json": b"{}\n"} | dict.fromkeys(HOSTILE_NAMES, b"hostile\n")
    HubRepo(hub.root, "org/hostile").commit(files)
    pulled = pull("org/hostile", hub.url)
    assert pulled.partial
    (shadow,) = set(pulled.plan.refused) - {name[:MAX_PATH] for name in UNSAFE_NAMES}
    assert shadow in {"file", "file/below-a-file.txt"}
    harmless = {"config.json", *WIDE_NAMES, "file", "file/below-a-file.txt"} - {shadow}
    check_pulled(pull.home, {path: files[path] for path in harmless}, "org/hostile")
    outside = [path for path in pull.home.parent.rglob("*") if "escape" in path.name]
    assert outside == []


def test_leaving_out_what_is_refused_does_not_make_it_complete(hub: HubSim, pull: Puller) -> None:
    HubRepo(hub.root, "org/hostile").commit({"config.json": b"{}\n", "../x": b"x"})
    assert pull("org/hostile", hub.url, exclude=["../*"], dry_run=True).partial
    assert pull("org/hostile", hub.url, exclude=["../*"]).partial
    assert pull("org/hostile", hub.url, include=["config.json"]).partial
    call = outlast("ls", "--json", "--home", str(pull.home), home=pull.home.parent).ok()
    assert call.result["partial"] is True


def test_what_a_partial_server_lists_is_partial(hub: HubSim, pull: Puller, tmp_path: Path) -> None:
    """It lists what it has, and says that there is more."""
    pull("org/name", hub.url, include=["*.json"])
    with Node(pull.home) as node:
        second = replace(pull, home=tmp_path / "second")
        assert second("org/name", node.url).partial
        assert second("org/name", node.url).partial
    assert not second("org/name", hub.url).partial
    check_pulled(second.home)
