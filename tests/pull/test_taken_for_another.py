"""A pull of a model that may be taken for an archived one says so, once."""

from pathlib import Path

from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim

WARNING = "warning: mistra1ai/Some-7B is another model than mistralai/Some-7B, which is archived"


def test_it_warns_once(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    for name in ("mistralai/Some-7B", "mistra1ai/Some-7B"):
        HubRepo(root, name).commit({"config.json": b"{}"})
    with HubSim(root, mode="thread") as hub:
        words = ("--from", hub.url)
        assert "warning" not in inside("pull", "mistralai/Some-7B", *words, home=tmp_path).ok().err
        call = inside("pull", "mistra1ai/Some-7B", *words, home=tmp_path).ok()
        assert call.err.splitlines().count(WARNING) == 1
        assert "warning" not in inside("pull", "mistra1ai/Some-7B", *words, home=tmp_path).ok().err
