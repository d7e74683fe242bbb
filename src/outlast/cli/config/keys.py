"""The keys of the configuration file: of which types, with which defaults, and what they mean.

`outlast config` and the tables of docs/guide/configuration.md are made of these declarations.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, field

from outlast.cli.config.section import (
    Amount,
    ConfigSection,
    Flag,
    Meaning,
    Port,
    SubTable,
    Text,
    Texts,
)
from outlast.cli.config.settings import FileSettings, ServeSettings
from outlast.mirror.limits import IntakeLimits
from outlast.node.policy import SharePolicy
from outlast.sources.settings import S3Place
from outlast.swarm.settings import SwarmSettings

_FILE: Final = FileSettings()
_SWARM: Final = SwarmSettings()
_SHARE: Final = SharePolicy()
_INTAKE: Final = IntakeLimits()
_SERVE: Final = ServeSettings()
_PLACE: Final = S3Place()


class FileSection(ConfigSection, frozen=True):
    """Settings of every command."""

    home: Annotated[
        Text,
        Meaning(
            "The archive's folder.",
            default="the platform's folder for user data",
            flag="--home",
            environment=("OUTLAST_HOME",),
            follows="XDG_DATA_HOME",
            at="home",
        ),
    ] = _FILE.home
    sources: Annotated[
        Texts,
        Meaning(
            "Hubs, mirrors and other sources (KIND+URL, s3://BUCKET) that pull asks, in this "
            "order: a URL or a list.",
            default="the public hub",
            flag="--from",
            environment=("HF_ENDPOINT",),
            file_first=True,
            at="sources",
        ),
    ] = field(default=_FILE.sources, name="from")
    connections: Annotated[
        int,
        Meta(ge=1, le=256, description="the setting {!r} is not a number from 1 to 256"),
        Meaning(
            "Most connections at once, to all sources together: 1 to 256.",
            flag="--connections",
            at="connections",
        ),
    ] = _FILE.connections
    limit_rate: Annotated[
        Amount,
        Meaning(
            'Most bytes per second from all sources together, as "50M"; "0" is no limit.',
            default="no limit",
            flag="--limit-rate",
            at="rate",
            unit="bytes/s",
        ),
    ] = _FILE.rate
    form: Annotated[
        Any,
        Meaning(
            "Representation of new files: plain, capsule or auto.",
            more="[What they are](#representations-plain-capsule-delta-capsule)",
            flag="--form",
            environment=("OUTLAST_FORM",),
            at="form",
        ),
    ] = _FILE.form
    working_copies: Annotated[
        Amount | None,
        Meaning(
            'Most disk space for plain working copies of capsules, as "50GB".',
            default="half of the free disk, at most 100 GB",
            example="100GB",
            flag="--budget",
            at="working_copies",
            unit="bytes",
        ),
    ] = None
    gc_grace: Annotated[
        float,
        Meta(ge=0, le=3650, description="the setting {!r} is not a number of days to 3650"),
        Meaning(
            "Days that gc keeps files in the trash, as 14 or 0.5.",
            flag="--now",
            at="gc_grace",
            unit="days",
        ),
    ] = _FILE.gc_grace
    recheck_days: Annotated[
        float,
        Meta(gt=0, le=3650, description="the setting {!r} is not a number of days to 3650"),
        Meaning(
            "Days after which bytes of a file are compared again before they are given out, as 30.",
            at="recheck_days",
            unit="days",
        ),
    ] = _FILE.recheck_days
    identity: Annotated[
        Text,
        Meaning(
            "File with the keys (of age-keygen, or of OpenSSH) that open encrypted bundles.",
            default="none",
            example="~/.config/outlast/identity.txt",
            flag="--identity",
            at="identity",
        ),
    ] = _FILE.identity
    tokens: Annotated[
        dict[str, Any],
        Meta(description="the setting {!r} is not a table of URL = token"),
        Meaning(
            'Tokens of other sources than your hub: "URL" = "token".',
            default="none",
            example={"https://mirror.example": "TOKEN"},
            at="tokens",
            secret=True,
        ),
    ] = field(default_factory=dict)
    swarm: SubTable = field(default_factory=dict)
    share: SubTable = field(default_factory=dict)
    serve: SubTable = field(default_factory=dict)
    s3: SubTable = field(default_factory=dict)


_LIMIT: Final = "HTTP and BitTorrent count separately. For hubs use `limit-rate`"
_LAN: Final = (
    "The LAN is all private addresses (10.0.0.0/8, 192.168.0.0/16, fd00::/8 …), link-local ones "
    "and the machine's own"
)


class SwarmSection(ConfigSection, frozen=True):
    """How this node finds other nodes, and exchanges files with them."""

    enabled: Annotated[
        Flag,
        Meaning(
            "Whether this node takes part in the swarm.",
            more="The environment says `0` or `1`",
            flag="--no-swarm",
            environment=("OUTLAST_SWARM",),
            at="swarm.enabled",
        ),
    ] = _SWARM.enabled
    port: Annotated[
        Port,
        Meaning(
            "Port for BitTorrent; 0 is any free one.",
            environment=("OUTLAST_SWARM_PORT",),
            at="swarm.port",
        ),
    ] = _SWARM.port
    peer_port: Annotated[
        Port,
        Meaning(
            "Port of the node's own API, for other nodes; 0 is any free one.",
            more="Where another process has `port` or `peer-port`, a pull takes any free one "
            "instead, and so does `serve` for 8091",
            environment=("OUTLAST_PEER_PORT",),
            at="swarm.peer_port",
        ),
    ] = _SWARM.peer_port
    peers: Annotated[
        Texts,
        Meaning(
            'Static peers: nodes that you name, as "host:port" of their peer port. '
            "Only they get private and gated models.",
            more="The environment lists them as `host:port,host:port`",
            default="none",
            environment=("OUTLAST_PEERS",),
            at="swarm.peers",
        ),
    ] = ()
    trackers: Annotated[
        Texts,
        Meaning(
            "URLs (https://…/announce, udp://…) where this node announces what it shares.",
            default="none",
            at="swarm.trackers",
            off_by="swarm.private",
        ),
    ] = ()
    dht: Annotated[
        Flag,
        Meaning(
            "Announce in the distributed hash table, and look there.",
            at="swarm.dht",
            off_by="swarm.private",
        ),
    ] = _SWARM.dht
    dht_port: Annotated[
        Port,
        Meaning(
            "UDP port for the DHT, not the one of BitTorrent; 0 is any free one.",
            environment=("OUTLAST_DHT_PORT",),
            at="swarm.dht_port",
        ),
    ] = _SWARM.dht_port
    dht_routers: Annotated[
        Texts,
        Meaning('Where to enter the DHT, as "host:port".', default="none", at="swarm.dht_routers"),
    ] = ()
    link_hosts: Annotated[
        Texts,
        Meaning(
            'Networks ("192.168.1.0/24") or addresses of your own in which trackers and web seeds '
            "of magnet links and .torrent files may be.",
            more="Others are asked only at addresses of the internet, outside of this machine's "
            "networks ([why](share.md#a-magnet-link))",
            default="none",
            at="swarm.link_hosts",
        ),
    ] = ()
    private: Annotated[
        Flag,
        Meaning(
            "Talk to static peers alone: no broadcast on the LAN, no DHT, peer exchange, tracker "
            "or port forwarding, whatever the other keys say.",
            more="The environment says `0` or `1`",
            environment=("OUTLAST_PRIVATE",),
            at="swarm.private",
        ),
    ] = _SWARM.private
    utp: Annotated[
        Flag, Meaning("BitTorrent over UDP too; on a LAN that is slow.", at="swarm.utp")
    ] = _SWARM.utp
    upnp: Annotated[
        Flag,
        Meaning(
            "Ask the router to forward the ports (UPnP, NAT-PMP).",
            at="swarm.upnp",
            off_by="swarm.private",
        ),
    ] = _SWARM.upnp
    up: Annotated[
        Amount,
        Meaning(
            'Most bytes per second to nodes beyond the LAN, as "2M"; "0" is no limit.',
            more=_LIMIT,
            default="no limit",
            at="swarm.rates.up",
            unit="bytes/s",
        ),
    ] = 0
    down: Annotated[
        Amount,
        Meaning(
            'Most bytes per second from nodes beyond the LAN, as "5M"; "0" is no limit.',
            more=_LIMIT,
            default="no limit",
            at="swarm.rates.down",
            unit="bytes/s",
        ),
    ] = 0
    lan_up: Annotated[
        Amount,
        Meaning(
            'Most bytes per second to nodes on the LAN; "0" is no limit.',
            more=_LAN,
            default="no limit",
            at="swarm.rates.lan_up",
            unit="bytes/s",
        ),
    ] = 0
    lan_down: Annotated[
        Amount,
        Meaning(
            'Most bytes per second from nodes on the LAN; "0" is no limit.',
            more=_LAN,
            default="no limit",
            at="swarm.rates.lan_down",
            unit="bytes/s",
        ),
    ] = 0
    schedule: Annotated[
        tuple[dict[str, Any], ...],
        Meta(
            description="the setting {!r} is not a list of tables",
            extra={
                "hint": 'write schedule = [{{days = "mon-fri", hours = "08:00-18:00", up = "2M"}}]'
            },
        ),
        Meaning(
            "Other values of up and down at certain times, by the clock of this machine; as "
            '[{days = "mon-fri", hours = "08:00-18:00", up = "2M", down = "5M"}].',
            more='The first entry that matches applies, else `up` and `down`. `days`: `"daily"` '
            '(default), or days and ranges as `"mon-fri"`, `"sat,sun"`. `hours`: '
            '`"HH:MM-HH:MM"`, default the whole day; it may pass midnight, also into a day that '
            "is not among `days`. An entry that leaves out `up` or `down` does not change it",
            default="none",
            at="swarm.schedule",
        ),
    ] = ()


class WindowSection(ConfigSection, frozen=True):
    """An entry of `schedule`; without `up` or `down` the limit of [swarm] holds."""

    days: Any = "daily"
    hours: Any = "00:00-24:00"
    up: Amount | None = None
    down: Amount | None = None


class ShareSection(ConfigSection, frozen=True):
    """What this node shares with other nodes."""

    include: Annotated[
        Texts,
        Meaning(
            "Models to share: patterns (globs) over the names that outlast ls shows.",
            at="share.include",
        ),
    ] = _SHARE.include
    exclude: Annotated[
        Texts,
        Meaning("Of those, the models not to share.", default="none", at="share.exclude"),
    ] = _SHARE.exclude
    restricted: Annotated[
        Flag,
        Meaning(
            "Offer private and gated models to every node, not only to static peers.",
            at="share.restricted",
        ),
    ] = _SHARE.restricted
    largest: Annotated[
        Amount,
        Meaning(
            'Share no revision of more bytes than this, as "200GB"; "0" is no limit.',
            default="no limit",
            at="share.largest",
            unit="bytes",
        ),
    ] = _SHARE.largest


class ServeSection(ConfigSection, frozen=True):
    """What servers answer to, and what clients may make a mirror download."""

    hosts: Annotated[
        Texts,
        Meaning(
            "Names that clients use for this server beside localhost, addresses and the "
            "machine's own name; without a port.",
            more="The machine's own is as `box`, `box.local`, `box.lan`; others are that of a "
            "reverse proxy, or one from your DNS",
            default="none",
            flag="--host",
            at="serve.hosts",
        ),
    ] = ()
    fetch_quota: Annotated[
        Amount,
        Meaning(
            "Bytes of files that one client may make a mirror download in an hour; "
            '"0" is no limit.',
            more="What is archived does not count",
            at="serve.intake.hourly",
            unit="bytes",
        ),
    ] = _INTAKE.hourly
    keep_free: Annotated[
        Amount | None,
        Meaning(
            "Bytes of the disk that clients of a mirror do not fill.",
            more="A file that would take them gets HTTP 507. `pull` and `add` do not look at it",
            default="5 % of the disk, at most 50 GB",
            example="50GB",
            at="serve.intake.keep_free",
            unit="bytes",
        ),
    ] = None

    keep: Annotated[
        Amount | None,
        Meaning(
            "Bytes that the files which clients made a mirror download may take.",
            more="Above that, and where the disk is full, the revision that was used least "
            "recently is dropped. What you or a list asked for by name stays, and does not count",
            default="all of it stays",
            example="2TB",
            flag="--keep",
            at="serve.intake.keep",
            unit="bytes",
        ),
    ] = None

    unsafe: Annotated[
        Text,
        Meaning(
            'What clients get of pickles: "withhold" refuses them (HTTP 403), "allow" gives '
            "them all out.",
            more="A program that loads a pickle runs what is in it. Other archives get the files "
            "either way",
            at="serve.unsafe",
        ),
    ] = _SERVE.unsafe.value

    allow_unsafe: Annotated[
        Texts,
        Meaning(
            "Digests (sha256) of pickles that clients get nevertheless.",
            more="So do those that `outlast quarantine allow` and `link --allow-unsafe` noted in "
            "the archive",
            default="none",
            flag="--allow-unsafe",
            at="serve.allow_unsafe",
        ),
    ] = ()


class S3Section(ConfigSection, frozen=True):
    """The store that sources `s3://BUCKET/PREFIX` are in, and the keys to it."""

    endpoint: Annotated[
        Text,
        Meaning(
            "URL of the store.",
            default="Amazon's, of the region",
            example="https://minio.example:9000",
            environment=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
            at="s3.place.endpoint",
        ),
    ] = ""
    region: Annotated[
        Text,
        Meaning(
            "Region of the buckets.",
            environment=("AWS_REGION", "AWS_DEFAULT_REGION"),
            at="s3.place.region",
        ),
    ] = _PLACE.region
    access_key_id: Annotated[
        Text,
        Meaning(
            "Access key; without one, buckets that everybody may read are asked.",
            more="Keys come all from the environment or all from the file",
            default="none",
            environment=("AWS_ACCESS_KEY_ID",),
            at="s3.access_key_id",
            secret=True,
        ),
    ] = ""
    secret_access_key: Annotated[
        Text,
        Meaning(
            "Secret key that belongs to it.",
            more="It signs requests, and is never sent",
            default="none",
            environment=("AWS_SECRET_ACCESS_KEY",),
            at="s3.secret_access_key",
            secret=True,
        ),
    ] = ""
    session_token: Annotated[
        Text,
        Meaning(
            "Session token of temporary keys.",
            default="none",
            environment=("AWS_SESSION_TOKEN",),
            at="s3.session_token",
            secret=True,
        ),
    ] = ""


SECTIONS: Final[Mapping[str, type[ConfigSection]]] = {
    "": FileSection,
    "swarm": SwarmSection,
    "share": ShareSection,
    "serve": ServeSection,
    "s3": S3Section,
}
"""The tables of the file, by name; the keys at its top are the first."""
