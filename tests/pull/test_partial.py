"""Archives of some of a commit's files: marked partial everywhere, and completed later."""

from pathlib import Path

import pytest

from outlast.core.errors import BadNameError
from tests.hubsim import HubRepo, HubSim
from tests.hubsim.generate import HOSTILE_NAMES
from tests.pull.kit import FILES, TOTAL, Puller, check_pulled, contents, sent
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
    assert "PARTIAL" in shown
    assert "missing" in shown
    document = outlast("show", "org/name", "--json", home=tmp_path).ok().result
    assert document["partial"] is True
    assert "model.safetensors" in {entry["path"] for entry in document["missing"]}
    linked = outlast("link", "org/name", home=tmp_path).ok()
    assert "PARTIAL" in linked.err
    assert outlast("link", "org/name", "--json", home=tmp_path).ok().result["partial"] is True


def test_a_refused_name_can_be_left_out(hub: HubSim, pull: Puller) -> None:
    files = {"config.json": b"{}", "Twin.txt": b"1", "twin.TXT": b"2", "x": b"3", "x/y": b"4"}
    HubRepo(hub.root, "org/twins").commit({k: v for k, v in files.items() if k != "x"})
    with pytest.raises(BadNameError, match="differ only in case"):
        pull("org/twins", hub.url)
    pull("org/twins", hub.url, exclude=["twin.TXT"])
    kept = {path: files[path] for path in ("config.json", "Twin.txt", "x/y")}
    check_pulled(pull.home, kept, "org/twins")


def test_a_hostile_repo_gives_what_is_harmless(hub: HubSim, pull: Puller) -> None:
    files = {"config.json": b"{}\n"} | dict.fromkeys(HOSTILE_NAMES, b"hostile\n")
    HubRepo(hub.root, "org/hostile").commit(files)
    with pytest.raises(BadNameError):
        pull("org/hostile", hub.url)
    pull("org/hostile", hub.url, include=["config.json"])
    assert contents(pull.home, "org/hostile") == {"config.json": b"{}\n"}
    outside = [path for path in pull.home.parent.rglob("*") if "escape" in path.name]
    assert outside == []
