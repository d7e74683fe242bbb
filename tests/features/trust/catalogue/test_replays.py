"""Any sequence of publishing and syncing, with an attacker who answers with any files of before."""

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlast.core.errors import CatalogueRefusedError, NotFoundError
from outlast.features.trust.catalogue.folders import read_record
from outlast.features.trust.catalogue.making.keyfiles import new_key
from outlast.features.trust.catalogue.making.making import rotate
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.state import FollowedState
from outlast.features.trust.catalogue.sync import sync
from outlast.features.trust.catalogue.using.opened import OpenCatalogues
from tests.features.trust.catalogue.shelf import NOW, Shelf, entry

STEPS = st.lists(
    st.one_of(
        st.just("publish"),
        st.just("remove"),
        st.just("rotate"),
        st.just("sync"),
        st.integers(0, 1 << 30),
    ),
    min_size=2,
    max_size=8,
)


class Attacker:
    """Answers each file as it was at any time before, or as it is, or not at all."""

    name = "attacker"
    is_near = True

    def __init__(self, folder: Path, before: list[Path], seed: int) -> None:
        self._random = random.Random(seed)
        self._folders = [*before, folder]

    def read(self, path: str, most: int) -> bytes:
        return FolderPlace(self._random.choice(self._folders)).read(path, most)


def versions(home: Path) -> tuple[int, int, int]:
    """Of the timestamp, the snapshot and the root that the follower trusts."""
    state = FollowedState(home, read_record(home, "acme"))
    assert state.timestamp is not None
    assert state.snapshot is not None
    trusted, _ = state.read(NOW)
    return state.timestamp.version, state.snapshot.version, trusted.root.version


def listed(home: Path) -> set[str]:
    catalogues = OpenCatalogues(home, clock=lambda: NOW)
    return {one.entry.name.path for each in catalogues.each() for one in each.all()}


@given(STEPS)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_versions_never_go_back_and_what_is_there_was_published(
    made: Path, steps: list[str | int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shelf = Shelf(Path(shutil.copytree(made / "operator", root / "operator")))
        home = Path(shutil.copytree(made / "follower", root / "follower"))
        published = [listed(home)]
        before: list[Path] = []
        for number, step in enumerate(steps):
            seen = versions(home)
            if isinstance(step, int):
                try:
                    sync(home, "acme", Attacker(shelf.folder, before, step), NOW)
                except (CatalogueRefusedError, NotFoundError):  # another file, or none
                    assert versions(home) == seen
            elif step == "sync":
                sync(home, "acme", FolderPlace(shelf.folder), NOW)
                assert listed(home) == published[-1]
            else:
                copy = shutil.copytree(shelf.folder, root / f"before-{number}")
                before.append(Path(copy))
                published.append(change(shelf, step, number, published[-1]))
            assert versions(home) >= seen
            assert listed(home) in published
        sync(home, "acme", FolderPlace(shelf.folder), NOW)
        assert listed(home) == published[-1]


def change(shelf: Shelf, step: str, number: int, now: set[str]) -> set[str]:
    """Publishes something; what is listed then."""
    if step == "rotate":
        key = new_key(shelf.keys / f"online-{number}.pem", None)
        rotate(shelf.folder, "online", [key], shelf.ring(), NOW)
        return now
    if step == "remove" and now:
        gone = min(now)
        shelf.unstage(gone)
        shelf.publish()
        return now - {gone}
    added = entry(f"a/m{number}")
    shelf.publish(added)
    return now | {added.name.path}
