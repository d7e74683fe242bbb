"""The DHT says where the newest state of a catalogue is: a private one, on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import CatalogueRefusedError, NotFoundError, UsageError
from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.pointer import CataloguePointer
from outlast.swarm.client.dht import Dht
from outlast.swarm.client.dht_items import MOST_VALUE, DhtItems, DhtKey
from outlast.swarm.settings import SwarmSettings
from tests.cli.call import Call, inside
from tests.features.trust.catalogue.shelf import refuse_to_ask
from tests.ports import free_port
from tests.serve.node import Node
from tests.swarm.sessions import HOST

ZERO = Digest("0" * 64)


@pytest.fixture
def settings() -> Iterator[SwarmSettings]:
    """Of a node that enters the DHT by a router that runs."""
    port = free_port()
    routers = ((HOST, port),)
    with Dht(SwarmSettings(dht=True, dht_port=port, dht_routers=routers), 1):
        yield SwarmSettings(dht=True, dht_routers=routers)


def key(number: int) -> DhtKey:
    secret = Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))
    return DhtKey(secret.private_bytes_raw(), secret.public_key().public_bytes_raw())


def test_an_item_and_the_one_after_it(settings: SwarmSettings) -> None:
    pair = key(1)
    with DhtItems(settings, Cancel()) as writer, DhtItems(settings, Cancel()) as reader:
        assert writer.put(pair, b"one \xff", b"acme") > 0
        assert reader.get(pair.public, b"acme").value == b"one \xff"
        writer.put(pair, b"two", b"acme")
        found = reader.get(pair.public, b"acme")
        assert (found.value, found.sequence) == (b"two", 2)
        with pytest.raises(NotFoundError):  # one: what is not there is looked for for long
            reader.get(pair.public, b"other")
        with pytest.raises(UsageError):
            writer.put(pair, bytes(MOST_VALUE + 1), b"acme")


class World:
    """An operator whose node serves the catalogue, and a follower of a copy of it."""

    def __init__(self, root: Path, settings: SwarmSettings) -> None:
        self.root, self.settings = root, settings
        self.operator, self.follower, self.www = root / "op", root / "fo", root / "www"
        for home in (self.operator, self.follower):
            self.configure(home, "dht = true")
        (root / "model").mkdir()
        (root / "model" / "config.json").write_text("{}")
        self.at(self.operator, "add", root / "model", "--as", "lab/tiny").ok()
        self.at(self.operator, "catalogue", "init", "acme", "--keys", root / "keys").ok()
        self.publish("--to", self.www)
        first = self.www / "metadata" / "1.root.json"
        self.at(self.follower, "catalogue", "follow", self.www, "--root", first).ok()

    def configure(self, home: Path, *lines: str) -> None:
        (home / "config" / "outlast").mkdir(parents=True, exist_ok=True)
        ((host, port),) = self.settings.dht_routers
        routers = f'dht-routers = ["{host}:{port}"]'
        text = "\n".join(("[swarm]", routers, *lines))
        (home / "config" / "outlast" / "config.toml").write_text(text + "\n")

    def at(self, home: Path, *words: str | Path) -> Call:
        return inside(*words, home=home, env={"OUTLAST_SWARM": "1"})

    def publish(self, *more: str | Path) -> None:
        self.at(self.operator, "catalogue", "add", "acme", "lab/tiny")
        self.at(self.operator, "catalogue", "publish", "acme", "--keys", self.root / "keys", *more)

    def announce(self, url: str) -> Call:
        words = ("catalogue", "announce", "acme", "--at", url, "--keys", self.root / "keys")
        return self.at(self.operator, *words, "--json")

    def sync(self) -> Call:
        return self.at(self.follower, "catalogue", "sync", "acme", "--from", "dht", "--json")


@pytest.fixture
def world(tmp_path: Path, settings: SwarmSettings) -> World:
    return World(tmp_path, settings)


def test_a_follower_finds_the_newest_state(world: World) -> None:
    world.sync().failed("not-found")
    world.publish()
    with Node(world.operator / "archive") as node:
        url = f"{node.url}/catalogue/acme"
        said = world.announce(url).ok().result
        assert (said["type"], said["nodes"] > 0) == ("announced", True)
        synced = world.sync().ok().result
        assert (synced["place"], synced["entries"]) == (str(world.www), 1)
        assert synced["changed"]


def test_a_place_that_holds_back_what_is_newer(world: World, tmp_path: Path) -> None:
    item = CataloguePointer(99, ZERO, "http://127.0.0.1:9/catalogue/acme")
    with pytest.raises(CatalogueRefusedError, match="holds back"):
        item.check(FolderPlace(world.www))
    with pytest.raises(CatalogueRefusedError, match="another timestamp"):
        CataloguePointer(2, ZERO, item.url).check(FolderPlace(world.www))
    with pytest.raises(NotFoundError):
        item.check(FolderPlace(tmp_path / "nothing"))


def test_without_the_key_or_the_dht(world: World) -> None:
    words = ("catalogue", "announce", "acme", "--at", "https://a.example/c")
    (world.root / "none").mkdir()
    world.at(world.operator, *words, "--keys", world.root / "none").failed("policy")
    for line in ("dht = false", "dht = true\nprivate = true"):
        world.configure(world.follower, line)
        world.sync().failed("usage")
    assert KeyRing([world.root / "none"], refuse_to_ask).signers({}) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"type":"outlast-catalogue-v1"}',
        CataloguePointer(0, ZERO, "https://a.example").encode(),
        CataloguePointer(1, ZERO, "file:///etc").encode(),
        CataloguePointer(1, ZERO, "https://a.example/" + "x" * 900).encode(),
        CataloguePointer(1, ZERO, "https://a.example").encode().replace(b"v1", b"v2"),
    ],
)
def test_items_that_are_none(data: bytes) -> None:
    with pytest.raises(CatalogueRefusedError):
        CataloguePointer.decode(data)


def test_an_item_is_read_as_it_was_written_and_leads_nowhere_inside() -> None:
    item = CataloguePointer(7, ZERO, "http://10.0.0.7/c")
    assert CataloguePointer.decode(item.encode()) == item
    item.require_near("http://10.0.0.8/c")
    item.require_near("/media/disk")
    with pytest.raises(CatalogueRefusedError, match="into this network"):
        item.require_near("https://a.example/c")
