"""A script that turns the swarm on: what no hub gives comes from a neighbour."""

import sys

import pytest

from tests.net import Net, needs_lab
from tests.net.node import Node, make_model
from tests.net.program import environment

pytestmark = [pytest.mark.net, needs_lab()]

SCRIPT = """
import sys
import outlast

with outlast.open(sys.argv[1]) as archive:
    try:
        archive.pull("org/model")
    except outlast.TransientError as error:
        print(error.code)
    try:
        archive.pull("org/model", swarm=True)
    except outlast.TransientError as error:
        print(error.code)
    done = archive.pull("org/model", from_="lan", swarm=True)
    print(done.complete, archive.verify("org/model").ok, *done.fetched)
"""


def test_from_a_neighbour() -> None:
    with Net() as net:
        lan = net.lan()
        seed, other = Node(lan.host("seed")), Node(lan.host("other"))
        model = make_model(net.folder / "model", 3, name="org/model")
        seed.add(model)
        seed.serve()
        env = environment(other.host.folder, {"HF_ENDPOINT": other.hub})
        program = other.host.start("script", [sys.executable, "-c", SCRIPT, other.home], env)
        lines = program.ok().out.read_text().splitlines()
        # Without the swarm no neighbour is asked, and with it none says what a model is.
        assert lines[:2] == ["unreachable", "unreachable"]
        assert lines[2].startswith("True True ")
        assert seed.host.address in lines[2]
