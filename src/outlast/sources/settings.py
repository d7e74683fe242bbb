"""How to reach other machines; apart from the client, so that reading it costs no imports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from outlast.core.errors import MalformedError

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where the store of ``s3://`` sources is; without an endpoint, Amazon's of the region."""

    endpoint: str = ""
    region: str = "us-east-1"

    @property
    def url(self) -> str:
        if self.endpoint:
            return self.endpoint
        end = ".cn" if self.region.startswith("cn-") else ""
        return f"https://s3.{self.region}.amazonaws.com{end}"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How to reach other machines. `proxies` maps ``http``, ``https``, ``all`` to a proxy's URL and
    ``no`` to the hosts that are reached directly; times are in seconds. `identity`: the file with
    the keys to encrypted bundles.
    """

    user_agent: str = "outlast"
    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    connections: int = 16
    s3: S3Place = field(default_factory=S3Place)
    identity: Path | None = None


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL: a token is sent to no other."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise MalformedError(f"not a URL: {url[:200]!r}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise MalformedError(f"not an http or https URL: {url[:200]!r}")
    return parts.scheme, parts.hostname, port
