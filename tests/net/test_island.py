"""A country is cut off: what its machines have is found, fetched, verified, kept and run there, with
no hub, no name server, no time server, no authorities, and clocks that are wrong by years.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gguf_cut import small_smollm2
from tests.net import Host, Net, needs_lab
from tests.net.island import YEAR, Island, Islander, settings
from tests.net.node import Model, documents, make_model, of_type
from tests.net.program import until
from tests.realweights import WeightsUnavailableError

pytestmark = [pytest.mark.net, needs_lab()]

TALKER = "org/talker"
LATER = "org/later"
SOON = "every = 0.02\n"
"""A round each 1.2 s."""


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


def talker(folder: Path, weights: Path) -> Model:
    """A model that an engine can load."""
    files = {weights.name: weights.read_bytes(), "README.md": b"# It talks\n"}
    folder.mkdir()
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return Model(folder, files, TALKER)


@pytest.fixture
def model(net: Net) -> Model:
    try:
        return talker(net.folder / "talker", small_smollm2(net.folder))
    except WeightsUnavailableError as error:
        pytest.skip(str(error))


def answer(node: Islander, *words: str) -> str:
    """What the model says on this machine."""
    run = node.start("run", TALKER, "--temperature", "0", "--max-tokens", "8", *words)
    return str(documents(run.ok())[-1])


def two_ends(island: Island) -> tuple[Islander, Islander, Path]:
    """A machine at each end, which names the other one; the first has a keep-list, the other one
    follows it. One clock is a year ahead, the other one a year late.
    """
    keeper, follower = island.here.host("keeper"), island.there.host("follower")
    models = keeper.folder / "models.txt"
    models.write_text(f"{TALKER} copies=2\n")
    return (
        Islander(keeper, YEAR, settings=settings([follower], f'lists = ["{models}"]\n{SOON}')),
        Islander(follower, -YEAR, settings=settings([keeper], f'copies = "1GB"\n{SOON}')),
        models,
    )


def test_an_island_finds_fetches_keeps_and_runs(net: Net, model: Model) -> None:
    island = Island(net)
    keeper, follower, models = two_ends(island)
    assert keeper.is_cut_off()
    assert follower.is_cut_off()
    keeper.add(model)
    for node in (keeper, follower):
        node.serve()
    # The other end follows the keep-list, also when it grows.
    until(lambda: follower.lists(TALKER), "the other end keeps what the list names")
    later = make_model(net.folder / "later", 1, name=LATER)
    keeper.add(later)
    with models.open("a") as file:
        file.write(f"{LATER} copies=2\n")
    until(lambda: follower.lists(LATER), "it follows the list")
    # A machine that knows no one finds it, fetches it and runs it.
    newcomer = Islander(island.there.host("newcomer"), YEAR)
    found = documents(newcomer.start("search", "talk").ok())
    assert [hit["repo"] for hit in found if hit["type"] == "model"] == [TALKER]
    dark = newcomer.start("pull", TALKER)
    assert dark.wait() == 5, dark.tail()
    assert "--from lan" in dark.err.read_text()
    [pulled] = of_type(newcomer.start("pull", TALKER, "--from", "lan").ok(), "pulled")
    assert sum(pulled["fetched"].values()) == model.size
    for node in (keeper, follower, newcomer):
        node.run("verify")
        assert answer(node, "--threads", "1", "Capital of France?")
