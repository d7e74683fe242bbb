"""Where the newest state of a catalogue is, as an item of the DHT says it (BEP 44).

It is signed by a key that signs the catalogue's timestamps, its salt is the catalogue's own name.
It proves nothing of the catalogue: what it leads to is verified as from any other place.
"""

from dataclasses import dataclass
from typing import Final

import rfc8785
from tuf.api.metadata import Root

from outlast.core.digest import Digest
from outlast.core.errors import CatalogueRefusedError, MalformedError, UsageError
from outlast.core.manifest import load_json
from outlast.features.trust.catalogue.names import metadata_path
from outlast.features.trust.catalogue.places import CataloguePlace, is_near
from outlast.features.trust.catalogue.reading import read_timestamp
from outlast.features.trust.catalogue.trusted import TIMESTAMP
from outlast.features.trust.catalogue.tuning import TUNING

_TYPE: Final = "outlast-catalogue-v1"
_MOST: Final = 900
"""Bytes of an item."""
MOST_URL: Final = 512
_ED25519: Final = "ed25519"
_KEY: Final = 32


@dataclass(frozen=True, slots=True)
class CataloguePointer:
    """The version and sha256 of the timestamp that is the newest, and the URL of the catalogue."""

    version: int
    timestamp: Digest
    url: str

    def encode(self) -> bytes:
        return rfc8785.dumps(
            {
                "type": _TYPE,
                "version": self.version,
                "timestamp": self.timestamp.hex,
                "url": self.url,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "CataloguePointer":
        """Raises :class:`CatalogueRefusedError`. Keys that are not known are passed over."""
        try:
            said = load_json(data, _MOST)
            known = said["type"] == _TYPE
            version, timestamp, url = said["version"], Digest(said["timestamp"]), said["url"]
            if known and type(version) is int and version > 0:
                return cls(version, timestamp, check_url(url))
        except (AttributeError, KeyError, TypeError, ValueError, MalformedError, UsageError):
            pass
        raise CatalogueRefusedError("the item of the DHT is not one of a catalogue")

    def require_near(self, known: str) -> None:
        """Refuses to be led from the internet into this network. `known`: the place by which the
        catalogue is followed.
        """
        if is_near(self.url) and "://" in known and not is_near(known):
            raise CatalogueRefusedError(f"the DHT leads into this network: {self.url}")

    def check(self, place: CataloguePlace) -> None:
        """Refuses a place that holds back what the item names, or has another of that version."""
        data = place.read(metadata_path(TIMESTAMP, None), TUNING.timestamp)
        version = read_timestamp(data, TUNING.timestamp).signed.version
        if version < self.version:
            raise CatalogueRefusedError(
                f"{place.name} has version {version} of the timestamp; the DHT names "
                f"{self.version}: it holds back what is newer"
            )
        if version == self.version and Digest.of(data) != self.timestamp:
            raise CatalogueRefusedError(
                f"{place.name} has another timestamp of version {version} than the DHT names"
            )


def check_url(url: str) -> str:
    """`url`, if an item can have it. Raises :class:`UsageError`."""
    if not url.startswith(("https://", "http://")) or len(url) > MOST_URL or not url.isascii():
        raise UsageError(
            f"not the address of a catalogue: {url[:100]!r}",
            hint=f"write https://host/path, at most {MOST_URL} characters",
        )
    return url


def keys_of(root: Root) -> list[bytes]:
    """The public keys of 32 bytes that sign timestamps under a root; others sign no items."""
    found = []
    for keyid in root.roles[TIMESTAMP].keyids:
        key = root.keys[keyid]
        if key.keytype == _ED25519:
            public = bytes.fromhex(key.keyval["public"])
            if len(public) == _KEY:
                found.append(public)
    return found
