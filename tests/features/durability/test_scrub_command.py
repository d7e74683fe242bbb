"""`outlast scrub`, and what `outlast serve` does of it by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import BIG, FILES, MIB, check_pulled, sent
from tests.rot import damage, file_of
from tests.serve.node import Node, outlast, until
from tests.serve.wire import once

TARGET = f"/org/name/resolve/main/{BIG}"
FEATURE = ["tests.features.durability.listed:DURABILITY"]
QUICK = {"outlast.features.durability.scrub.tuning.TUNING.look": 0.02}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread") as sim:
        yield sim


@pytest.fixture
def home(hub: HubSim, tmp_path: Path) -> Path:
    """Beside the archive that the command line uses."""
    inside("pull", "org/name", "--from", hub.url, "-q", home=tmp_path).ok()
    hub.clear_log()
    return tmp_path


def test_nothing_is_damaged(home: Path) -> None:
    call = inside("scrub", home=home).ok()
    assert "nothing is damaged" in call.out
    full = inside("scrub", "--full", "--json", "org/name", home=home).ok().result
    assert (full["mode"], full["damage_left"], full["complete"]) == ("full", 0, True)


def test_damage_is_mended_and_the_exit_status_is_0(home: Path, hub: HubSim) -> None:
    damage(file_of(home / "archive", FILES[BIG]), 0.5)
    env = {"HF_ENDPOINT": hub.url}
    call = inside("scrub", "--json", home=home, env=env).ok()
    (found,) = call.result["found"]
    assert (found["kind"], found["mended"], call.result["mended"]) == ("blob", True, 1)
    assert sent(hub) == MIB
    check_pulled(home / "archive")


def test_damage_that_is_left_makes_the_exit_status_4(home: Path) -> None:
    damage(file_of(home / "archive", FILES[BIG]), 0.5)
    for option in ("--no-mend", "--full"):
        call = inside("scrub", option, home=home)
        assert call.code == 4
        assert "1 damaged: 0 mended, 1 left" in call.out


def test_no_source_is_asked_by_no_mend(home: Path, hub: HubSim) -> None:
    damage(file_of(home / "archive", FILES[BIG]), 0.5)
    env = {"HF_ENDPOINT": hub.url}
    assert inside("scrub", "--no-mend", home=home, env=env).code == 4
    assert sent(hub) == 0


def test_a_part_at_a_time(home: Path) -> None:
    first = inside("scrub", "--max-duration", "0s", "--json", home=home).ok().result
    assert (first["files"], first["complete"]) == (0, False)
    second = inside("scrub", "--limit-rate", "1G", "--json", home=home).ok().result
    assert (second["files"], second["complete"]) == (first["left"], True)
    inside("scrub", "--max-duration", "soon", home=home).failed("usage")
    inside("scrub", "no/such", home=home).failed("not-found")


def test_settings_that_are_wrong_are_said(home: Path) -> None:
    path = home / "config" / "outlast" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[durability]\nscrub = "sometimes"\n')
    inside("ls", home=home).failed("bad-config")


def test_pull_says_what_it_mended(home: Path, hub: HubSim) -> None:
    damage(file_of(home / "archive", FILES[BIG]), 0.5)
    assert inside("verify", home=home).code == 4
    call = inside("pull", "org/name", "--from", hub.url, home=home).ok()
    assert "it was damaged, and is mended (1.0 MB from" in call.err
    assert "1 damaged file mended" in call.err


# Beside serve


def test_a_server_mends_what_a_client_finds_damaged(hub: HubSim, tmp_path: Path) -> None:
    """It is mended while no client asks for it."""
    home = tmp_path / "home"
    outlast(home, "pull", "org/name", "--from", hub.url, "-q")
    hub.clear_log()
    with Node(home, "--upstream", hub.url, tuned=QUICK, features=FEATURE) as node:
        damage(file_of(home, FILES[BIG]), 0.5)
        first = node.get(TARGET)
        assert first.broken
        assert FILES[BIG].startswith(first.body)
        until(lambda: node.metric("outlast_mended_files_total") == 1, "the file to be mended")
        assert node.metric("outlast_damaged_blobs") == 0
        assert node.metric("outlast_mended_bytes_total") == MIB
        assert once(node.url, TARGET).body == FILES[BIG]
    assert sent(hub) == MIB
    check_pulled(home)


def test_a_client_gets_the_right_bytes_from_upstream_meanwhile(hub: HubSim, tmp_path: Path) -> None:
    """Nothing mends in the background here: the request itself does."""
    home = tmp_path / "home"
    outlast(home, "pull", "org/name", "--from", hub.url, "-q")
    hub.clear_log()
    damage(file_of(home, FILES[BIG]), 0.5)
    slow = {"outlast.features.durability.scrub.tuning.TUNING.look": 1e6}
    with Node(home, "--upstream", hub.url, tuned=slow, features=FEATURE) as node:
        assert node.get(TARGET).broken
        assert once(node.url, TARGET).body == FILES[BIG]
    assert sent(hub) == MIB


def test_a_server_scrubs_when_that_is_due(home: Path, hub: HubSim) -> None:
    archive = home / "archive"
    (home / "config" / "outlast").mkdir(parents=True)
    settings = '[durability]\nscrub = "daily"\nscrub-rate = 0\n'
    (home / "config" / "outlast" / "config.toml").write_text(settings)
    inside("scrub", "--max-duration", "0", "-q", home=home).ok()  # a pass that is under way
    damage(file_of(archive, FILES[BIG]), 0.5)
    flags = ("--upstream", hub.url, "--no-swarm")  # else a seeder may see it first
    with Node(archive, *flags, tuned=QUICK, features=FEATURE) as node:
        until(lambda: node.metric("outlast_mended_files_total") == 1, "the scrub and its effect")
        until(lambda: node.metric("outlast_scrub_damage_total") == 1, "its account")
        assert node.metric("outlast_scrubbed_bytes_total") > 11 * MIB
        until(lambda: node.metric("outlast_scrub_oldest_seconds") > 0, "the oldest file's age")
        assert node.metric("outlast_scrub_oldest_seconds") < 3600
    check_pulled(archive)
    with Archive(archive) as found:
        assert not found.damage.all()


def test_damage_has_the_name_of_its_file(home: Path) -> None:
    """In the answers of status, of share and of doctor."""
    archive = home / "archive"
    (home / "config" / "outlast").mkdir(parents=True)
    settings = home / "config" / "outlast" / "config.toml"
    settings.write_text('[durability]\nscrub = "off"\nmend = false\n')
    damage(file_of(archive, FILES[BIG]), 0.5)
    assert inside("verify", home=home).code == 4
    name = f"org/name: {BIG}"
    env = {"OUTLAST_SWARM": "1", "OUTLAST_LSD": "0"}
    with Node(archive, env=env, features=FEATURE):
        (status,) = inside("status", "--json", home=home).ok().result
        assert (status["damaged"], status["damaged_files"]) == (1, [name])
        assert f"damaged: {name}" in inside("status", home=home).ok().out
    shared = inside("share", "org/name", "--restricted", "--out", str(home / "out"), home=home)
    assert name in shared.failed("damaged")
    assert name in inside("doctor", home=home).out
