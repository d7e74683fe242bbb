"""A country is cut off: what its machines have is found, fetched, verified, kept and run, with
no hub, no name server, no time server, no authorities, and clocks that are wrong by years.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign import LONG
from tests.gguf_cut import small_smollm2
from tests.net import Net, needs_lab
from tests.net.island import YEAR, Island, Islander, settings
from tests.net.node import Model, documents, make_model, of_type
from tests.net.program import until
from tests.realweights import WeightsUnavailableError, smollm2_gguf

pytestmark = [pytest.mark.net, needs_lab()]

TALKER = "org/talker"
LATER = "org/later"
SOON = "every = 0.01\n"
"""A round each 0.6 s."""
SLOW = 600.0
"""Seconds for 100 MB over a mesh that loses packets."""
QUESTION = "Capital of France?"


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def model(net: Net) -> Model:
    """A model that an engine can load: a real one where the campaign is the long one, else a cut
    one.
    """
    try:
        weights = smollm2_gguf() if LONG else small_smollm2(net.folder)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    files = {weights.name: weights.read_bytes(), "README.md": b"# It talks\n"}
    folder = net.folder / "talker"
    folder.mkdir()
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return Model(folder, files, TALKER)


def answer(node: Islander) -> str:
    """What the model says on this machine."""
    options = ("--temperature", "0", "--max-tokens", "12", "--threads", "1")
    [shown] = of_type(node.start("show", TALKER).ok(), "details")
    accept = ("--accept", shown["manifest"])  # on one machine nothing else speaks for it
    [said] = of_type(node.start("run", TALKER, *options, *accept, QUESTION).ok(), "answer")
    return str(said["text"])


def two_ends(island: Island) -> tuple[Islander, Islander, Path]:
    """A machine at each end, which names the other one; the first has a keep-list, the other one
    follows it. One clock is a year ahead, the other one a year late.
    """
    keeper, follower = island.host(island.here, "keeper"), island.host(island.there, "follower")
    models = keeper.folder / "models.txt"
    models.write_text(f"{TALKER} copies=2\n")
    return (
        Islander(keeper, YEAR, settings=settings([follower], f'lists = ["{models}"]\n{SOON}')),
        Islander(follower, -YEAR, settings=settings([keeper], f'copies = "1GB"\n{SOON}')),
        models,
    )


def keep_too(keeper: Islander, models: Path, later: Model) -> None:
    """The keep-list grows by a model."""
    keeper.add(later)
    with models.open("a") as file:
        file.write(f"{later.name} copies=2\n")


def test_an_island_finds_fetches_keeps_and_runs(net: Net, model: Model) -> None:
    island = Island(net)
    keeper, follower, models = two_ends(island)
    assert keeper.is_cut_off()
    assert follower.is_cut_off()
    keeper.add(model)
    for node in (keeper, follower):
        node.serve()
    until(lambda: follower.lists(TALKER), "the other end keeps what the list names")
    keep_too(keeper, models, make_model(net.folder / "later", 1, name=LATER))
    until(lambda: follower.lists(LATER), "it follows the list as that grows")
    newcomer = Islander(island.host(island.there, "newcomer"), YEAR)
    found = documents(newcomer.start("search", "talk").ok())
    assert [hit["repo"] for hit in found if hit["type"] == "model"] == [TALKER]
    [pulled] = of_type(newcomer.start("pull", TALKER, "--from", "lan").ok(), "pulled")
    assert pulled["fetched"]
    assert all(source.startswith("peer ") for source in pulled["fetched"])
    assert pulled["unconfirmed"]
    for node in (follower, newcomer):
        node.run("verify")
    assert answer(newcomer)


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not LONG, reason="make torture")
def test_a_mesh_that_loses_and_clocks_that_jump(net: Net, model: Model) -> None:
    """Packets are lost, the mesh parts while a copy comes and joins again, and meanwhile each clock
    goes to the other side. A name server that does not answer is waited for.
    """
    island = Island(net, delay=0.02, jitter=0.005, loss=0.001)
    keeper, follower, models = two_ends(island)
    keeper.add(model)
    for node in (keeper, follower):
        node.serve()
    until(lambda: follower.lists(TALKER), "the other end keeps what the list names", SLOW)
    keep_too(keeper, models, make_model(net.folder / "later", 64, name=LATER))
    until(lambda: any(follower.home.glob("partial/*")), "the copy begins to come", SLOW)
    island.mesh.cut()
    assert not follower.lists(LATER)
    keeper.clock.set(shift=-YEAR)
    follower.clock.set(shift=YEAR)
    newcomer = Islander(island.host(island.there, "newcomer", leads_nowhere=True), -YEAR)
    dark = newcomer.start("pull", TALKER)
    assert dark.wait() == 5, dark.tail()
    assert "--from lan" in dark.err.read_text()
    newcomer.start("pull", TALKER, "--from", "lan").ok()
    assert "capital" in answer(newcomer)
    island.mesh.mend()
    until(lambda: follower.lists(LATER), "the copy comes, once the mesh is mended", SLOW)
    for node in (keeper, follower, newcomer):
        node.run("verify")
        assert "capital" in answer(node)
