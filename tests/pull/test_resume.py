"""Resuming: what an interrupted pull left is used, and never believed."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.core.errors import UnreachableError
from outlast.core.events import Event, FileDone
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull.kit import BIG, FILES, MIB, TOTAL, Puller, check_pulled, file_requests, sent, tree

DATA = noise(7, 21 * MIB + 5)
MODEL = {"large.safetensors": DATA, "config.json": b"{}"}
LARGE = "large.safetensors"
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def interrupted(hub: HubSim, pull: Puller) -> Path:
    """The folder of partials, after a pull that got at most the first 8 MiB of the large file: the
    refusal of the rest may come before the end of what is on its way.
    """
    HubRepo(hub.root, "org/large").commit(MODEL)
    pull.connections = 2
    hub.set_faults([{"action": "status", "status": 503, "file": LARGE, "skip": 2}])
    with pytest.raises(UnreachableError):
        pull("org/large", hub.url)
    assert 0 < held(pull.home / "partial") <= sent(hub, LARGE) == 8 * MIB
    hub.set_faults([])
    hub.clear_log()
    return pull.home / "partial"


def held(folder: Path) -> int:
    """Bytes of the large file that its journal has."""
    return (folder / f"{NAME}.have").read_bytes()[24:].count(1) * MIB


def test_only_the_rest_is_fetched(interrupted: Path, hub: HubSim, pull: Puller) -> None:
    before = held(interrupted)
    assert pull("org/large", hub.url, dry_run=True).plan.resumed == before
    result = pull("org/large", hub.url)
    check_pulled(pull.home, MODEL, "org/large")
    assert sent(hub) == len(DATA) - before == sum(result.fetched.values())
    assert list(interrupted.iterdir()) == []


def test_the_rest_may_come_from_another_source(interrupted: Path, pull: Puller) -> None:
    before = held(interrupted)
    root = pull.home.with_name("other")
    HubRepo(root, "org/large").commit(MODEL)  # the same files give the same commit
    with HubSim(root, mode="thread") as other:
        pull("org/large", other.url)
        assert sent(other) == len(DATA) - before
    check_pulled(pull.home, MODEL, "org/large")


def test_another_commit_uses_it_too(interrupted: Path, hub: HubSim, pull: Puller) -> None:
    before = held(interrupted)
    HubRepo(hub.root, "org/large").commit({"config.json": b"[]"})
    pull("org/large", hub.url)
    check_pulled(pull.home, {**MODEL, "config.json": b"[]"}, "org/large")
    assert sent(hub, LARGE) == len(DATA) - before


def test_a_finished_blob_without_a_manifest_is_not_fetched(hub: HubSim, pull: Puller) -> None:
    name = hashlib.sha256(FILES[BIG]).hexdigest()
    path = pull.home / "blobs" / name[:2] / name
    pull("org/name", hub.url, include=["config.json"])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(FILES[BIG])
    pull("org/name", hub.url)
    check_pulled(pull.home)
    assert sent(hub, BIG) == 0


@pytest.mark.parametrize("file", [BIG, "small.bin"])
def test_a_wrong_blob_in_its_place_is_not_believed(hub: HubSim, pull: Puller, file: str) -> None:
    data = FILES[file]
    name = hashlib.sha256(data).hexdigest()
    path = pull.home / "blobs" / name[:2] / name
    pull("org/name", hub.url, include=["config.json"])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data[:-1] + b"!")
    pull("org/name", hub.url)
    check_pulled(pull.home)


def flip_data(folder: Path) -> None:
    data = folder / f"{NAME}.data"
    piece = (folder / f"{NAME}.have").read_bytes()[24:].index(1)
    with data.open("r+b") as file:
        file.seek(piece * MIB + 9)
        file.write(bytes([DATA[piece * MIB + 9] ^ 1]))


def zero_data(folder: Path) -> None:
    (folder / f"{NAME}.data").write_bytes(bytes(len(DATA)))


def shorten_data(folder: Path) -> None:
    os.truncate(folder / f"{NAME}.data", MIB)


def lengthen_data(folder: Path) -> None:
    os.truncate(folder / f"{NAME}.data", len(DATA) + 1)


def lose_data(folder: Path) -> None:
    (folder / f"{NAME}.data").unlink()


def lose_journal(folder: Path) -> None:
    (folder / f"{NAME}.have").unlink()


def claim_all(folder: Path) -> None:
    journal = folder / f"{NAME}.have"
    data = journal.read_bytes()
    journal.write_bytes(data[:24] + b"\x01" * (len(data) - 24))


def scribble(folder: Path) -> None:
    journal = folder / f"{NAME}.have"
    journal.write_bytes(bytes(range(256))[: journal.stat().st_size])


def claim_oddly(folder: Path) -> None:
    journal = folder / f"{NAME}.have"
    data = journal.read_bytes()
    journal.write_bytes(data[:24] + b"\xff" * (len(data) - 24))


def empty_journal(folder: Path) -> None:
    (folder / f"{NAME}.have").write_bytes(b"")


def lengthen_journal(folder: Path) -> None:
    journal = folder / f"{NAME}.have"
    journal.write_bytes(journal.read_bytes() + b"\x01" * 99)


def lock_modes(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)


DAMAGES: list[Callable[[Path], None]] = [
    flip_data,
    zero_data,
    shorten_data,
    lengthen_data,
    lose_data,
    lose_journal,
    claim_all,
    scribble,
    claim_oddly,
    empty_journal,
    lengthen_journal,
    lock_modes,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage.__name__))
def test_damage_to_what_was_left(
    interrupted: Path, hub: HubSim, pull: Puller, damage: Callable[[Path], None]
) -> None:
    """The only source is honest: it must not be banned for what the disk did."""
    damage(interrupted)
    pull("org/large", hub.url)
    check_pulled(pull.home, MODEL, "org/large")
    assert pull.banned == set()
    assert sent(hub, LARGE) <= 2 * len(DATA)
    assert list(interrupted.iterdir()) == []


def test_many_interruptions_cost_little(hub: HubSim, pull: Puller) -> None:
    pull.connections, pull.tries = 2, 1
    hub.set_faults([{"action": "reset", "at": 700_000, "what": "resolve", "file": BIG, "p": 0.5}])
    for _ in range(40):
        try:
            pull("org/name", hub.url)
            break
        except UnreachableError:
            continue
    check_pulled(pull.home)
    assert sent(hub) <= TOTAL + 41 * 2 * MIB


def test_a_dry_run_leaves_it_alone(interrupted: Path, hub: HubSim, pull: Puller) -> None:
    before = tree(interrupted)
    pull("org/large", hub.url, dry_run=True)
    assert tree(interrupted) == before


def test_a_draft_that_outlived_its_manifest_goes(hub: HubSim, pull: Puller) -> None:
    """The process died between the two."""
    pull("org/name", hub.url, include=["config.json"])
    commit = HubRepo(hub.root, "org/name").head.sha
    draft = pull.home / "drafts" / "models" / "org" / "name" / f"{commit}.jsonl"
    kept: list[bytes] = []

    def keep(event: Event) -> None:
        if isinstance(event, FileDone):
            kept.append(draft.read_bytes())

    pull.listener = keep
    pull("org/name", hub.url)
    assert not draft.exists()
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(max(kept, key=len))
    pull.listener = None
    hub.clear_log()
    pull("org/name", hub.url)
    assert file_requests(hub) == []
    assert not draft.exists()
    check_pulled(pull.home)
