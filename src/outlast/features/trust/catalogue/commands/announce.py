"""``outlast catalogue announce``, and how a sync asks the DHT."""

from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tuf.api.metadata import Root

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.digest import Digest
from outlast.core.errors import CatalogueRefusedError, NotFoundError, PolicyError, UsageError
from outlast.features.trust.catalogue.commands import shared
from outlast.features.trust.catalogue.commands.documents import AnnouncedDocument
from outlast.features.trust.catalogue.folders import FollowRecord, read_small
from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.making.making import NAME
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.names import metadata_path
from outlast.features.trust.catalogue.places import WebPlace
from outlast.features.trust.catalogue.pointer import CataloguePointer, check_url, keys_of
from outlast.features.trust.catalogue.state import FollowedState
from outlast.features.trust.catalogue.trusted import TIMESTAMP
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.sources.http import HttpClient
from outlast.swarm.client.dht_items import DhtItem, DhtItems, DhtKey
from outlast.swarm.settings import SwarmSettings


@click.command(
    "announce",
    epilog="""\b
Examples:
  outlast catalogue announce acme --at https://models.example/catalogue
  outlast catalogue announce acme --at https://a.example/c --keys keys --json

\b
Exit status:
  0 nodes of the DHT keep it · 2 usage, or the DHT is off · 3 no such catalogue · 4 it is damaged ·
  5 no node of the DHT answers · 7 the online key is missing
""",
)
@click.argument("name")
@click.option("--at", "url", required=True, metavar="URL", help="Where followers can read it")
@shared.folder_option
@shared.keys_option
@shared.passphrase_option
@common
@shared.needs_library
def announce_(
    *,
    name: str,
    url: str,
    folder: Path | None,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Tell the DHT where the newest state of the catalogue NAME is (BEP 44).

    The item says the version and sha256 of the timestamp, and the URL, signed by the online key.
    Nodes of the DHT forget it after two hours: call this every hour, as by cron. Followers ask with
    'catalogue sync NAME --from dht'. It needs 'dht' and 'dht-routers' in the section [swarm] of the
    configuration.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        check_url(url)
        where = shared.folder_of(run, name, folder)
        own = read_own(where, shared.now())
        root = own.root
        data = read_small(where / metadata_path(TIMESTAMP, None), TUNING.timestamp)
        if data is None or own.trusted.timestamp is None:
            raise NotFoundError(f"{name} is not published yet", hint="publish it first")
        version = own.trusted.timestamp.version
        ring = KeyRing(
            shared.keys_of(name, keys), shared.asker(shared.read_passphrase(passphrase_file))
        )
        pointer = CataloguePointer(version, Digest.of(data), url)
        secret = _online_key(ring, root)
        key = DhtKey(secret.private_bytes_raw(), secret.public_key().public_bytes_raw())
        with DhtItems(_settings(run), run.control.cancel) as items:
            count = items.put(key, pointer.encode(), own_name(root).encode())
        if run.as_json:
            print_document(
                AnnouncedDocument(
                    catalogue=name, version=version, timestamp=pointer.timestamp, nodes=count
                )
            )
            return
        print(f"{name}: version {version} is at {url}; {plural(count, 'node')} of the DHT keep it")


def find_newest(run: Session, http: HttpClient, record: FollowRecord) -> WebPlace:
    """The place that the DHT names for a followed catalogue, which has what the item says. Raises
    :class:`NotFoundError`, :class:`UnreachableError` and :class:`CatalogueRefusedError`.
    """
    state = FollowedState(run.config.home, record)
    root = state.trusted(shared.now()).root
    found: list[DhtItem] = []
    with DhtItems(_settings(run), run.control.cancel) as items:
        salt = own_name(root).encode()
        for key in keys_of(root):
            try:
                found.append(items.get(key, salt))
            except NotFoundError:
                continue
    pointers = [CataloguePointer.decode(item.value) for item in found]
    if not pointers:
        raise NotFoundError(
            f"the DHT knows no place of {record.name}", hint="its operator may not announce it"
        )
    newest = max(pointers, key=lambda one: one.version)
    newest.require_near(record.place)
    place = WebPlace(http, newest.url)
    newest.check(place)
    return place


def own_name(root: Root) -> str:
    """The name that its operator gave a catalogue. Raises :class:`CatalogueRefusedError`."""
    name = root.unrecognized_fields.get(NAME)
    if not isinstance(name, str):
        raise CatalogueRefusedError("this catalogue has no name of its own")
    return name


def _settings(run: Session) -> SwarmSettings:
    settings = run.config.node().swarm
    if not settings.enabled or not settings.dht:
        raise UsageError(
            "the DHT is off", hint="turn it on with dht and dht-routers in the section [swarm]"
        )
    return settings


def _online_key(ring: KeyRing, root: Root) -> Ed25519PrivateKey:
    keys = {keyid: root.keys[keyid] for keyid in root.roles[TIMESTAMP].keyids}
    for signer in ring.signers(keys):
        secret = load_pem_private_key(signer.private_bytes, None)
        if isinstance(secret, Ed25519PrivateKey):
            return secret
    raise PolicyError("the online key of the catalogue is not here", hint="name it with --keys")
