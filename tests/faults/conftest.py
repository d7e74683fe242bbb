"""A home for each operation, prepared once a worker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import scene
from tests.faults.seam import library
from tests.hubsim import HubSim


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    library()
    root = tmp_path_factory.mktemp("faults-hub")
    scene.fill_hub(root)
    with HubSim(root, mode="thread") as sim:
        yield sim


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, hub: HubSim) -> Callable[[str], Path]:
    """The home before an operation, which is made when it is first asked for."""
    root = tmp_path_factory.mktemp("faults")
    scene.build(root, hub.url)
    known: dict[str, Path] = {}

    def prepared(name: str) -> Path:
        if name not in known:
            place = scene.copied(root / "home", root / f"home-{len(known)}", hub.url)
            scene.OPERATIONS[name].prepare(place)
            known[name] = place.home
        return known[name]

    return prepared
