"""The section ``[durability]`` of the configuration file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta

from outlast.bucket.objects import check_place
from outlast.cli.config.section import (
    Amount,
    ConfigSection,
    Flag,
    Meaning,
    SubTable,
    Text,
    Texts,
    keep_list_path,
    read_section,
)
from outlast.core.errors import BadConfigError
from outlast.core.keep_list import SITE_HINT, is_site
from outlast.core.sizes import bytes_of
from outlast.features.durability.parity.geometry import Share
from outlast.sources.peer_documents import MOST_STORES

_MOST_LISTS: Final = 100
_HOUR: Final = 3600.0
_MINUTE: Final = 60.0
_DAY: Final = 24 * _HOUR
_EVERY: Final = {"off": None, "daily": _DAY, "weekly": 7 * _DAY, "monthly": 30 * _DAY}


@dataclass(frozen=True, slots=True)
class ScrubSettings:
    """When `serve` scrubs: `every` so many seconds (None: never), reading at most `rate` bytes per
    second (0: no limit). `mend`: whether it mends what is damaged. `parity`: how much it writes
    beside each blob.
    """

    every: float | None = 30 * _DAY
    rate: int = 100_000_000
    mend: bool = True
    parity: Share | None = None

    @property
    def active(self) -> bool:
        """Whether there is anything to do beside a server."""
        return self.mend or self.every is not None or self.parity is not None


@dataclass(frozen=True, slots=True, order=True)
class StoreSetting:
    """A second home that goals may name: that at `url` counts as a holder at `site`."""

    site: str
    url: str


@dataclass(frozen=True, slots=True)
class CopiesSettings:
    """How this node takes part in keeping copies. `copies`: bytes for what other nodes need one of
    (None: what the disk has, where `lists` name goals); `volunteer`: bytes for what is rare;
    `gone_after` and `every` in seconds; `challenges`: blocks a day that each peer is asked for.
    """

    site: str = "lan"
    lists: tuple[Path, ...] = ()
    copies: int | None = None
    volunteer: int = 0
    gone_after: float = 24 * _HOUR
    every: float = 10 * _MINUTE
    challenges: int = 300
    stores: tuple[StoreSetting, ...] = ()
    scrub: ScrubSettings = ScrubSettings()

    @property
    def takes_copies(self) -> bool:
        return bool(self.lists) or self.copies is not None

    @property
    def active(self) -> bool:
        """Whether there is anything to do."""
        return self.takes_copies or self.volunteer > 0


_DEFAULT: Final = CopiesSettings()


class DurabilitySection(ConfigSection, frozen=True):
    """How copies are kept on the nodes of one operator, and on those of volunteers."""

    site: Annotated[
        Text,
        Meaning(
            "Where this node is, for the word where= in keep-lists, as site-b.",
        ),
    ] = _DEFAULT.site
    lists: Annotated[
        Texts,
        Meaning(
            "Keep-lists whose lines may have goals, as copies=3: paths of files.",
            more="Static peers hear of the goals. See [keep a list of models](keep.md)",
            default="none",
        ),
    ] = ()
    copies: Annotated[
        Amount | None,
        Meaning(
            "Most bytes for copies that goals ask for, those of static peers too, as 2TB.",
            default="with lists what the disk has, but 5 %; else nothing",
            example="2TB",
        ),
    ] = None
    volunteer: Annotated[
        Amount,
        Meaning("Bytes of the disk for what static peers hold rarest, as 500GB."),
    ] = 0
    gone_after: Annotated[
        float,
        Meta(ge=0, le=87600, description="the setting {!r} is not a number of hours to 87600"),
        Meaning(
            "Hours after which copies on a node that does not answer do not count any more. Only "
            "hours count in which this node asked.",
        ),
    ] = _DEFAULT.gone_after / _HOUR
    every: Annotated[
        float,
        Meta(ge=0.01, le=1440, description="the setting {!r} is not a number of minutes to 1440"),
        Meaning("Minutes between two rounds of questions to all static peers."),
    ] = _DEFAULT.every / _MINUTE
    challenges: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="the setting {!r} is not a number of blocks"),
        Meaning(
            "Random blocks (16 KiB) a day that each static peer must prove to have; 300 find with "
            "95 % that 1 % is lost.",
        ),
    ] = _DEFAULT.challenges
    stores: Annotated[
        SubTable,
        Meaning(
            "Second homes that goals may name: a site for where= in keep-lists, and the URL of the "
            "store, as 'outlast copy' takes it.",
            more="See [keep a list of models](keep.md#a-second-home-as-a-site)",
            default="none",
            example={"s3": "s3://models/archive"},
        ),
    ] = {}  # noqa: RUF012 - msgspec copies it
    scrub: Annotated[
        Text,
        Meaning(
            "How often 'outlast serve' reads all of the archive again, in the background: daily, "
            "weekly, monthly or off.",
            more="See [scrub](scrub.md)",
        ),
    ] = "monthly"
    scrub_rate: Annotated[
        Amount,
        Meaning("Most bytes a second that it reads for that, as 100MB; 0: no limit."),
    ] = "100MB"
    mend: Annotated[
        Flag,
        Meaning(
            "Let 'outlast serve' mend what is damaged, from where it came from and from other "
            "nodes."
        ),
    ] = True
    parity: Annotated[
        Text,
        Meaning(
            "Parity beside each blob, in percent of its bytes, as 2%: 'outlast serve' and 'outlast "
            "scrub' write it, and mend damaged sectors from it without a source. 0.4% to 100%, or "
            "off.",
        ),
    ] = "off"


def read_settings(table: Mapping[str, Any]) -> CopiesSettings:
    """What ``[durability]`` says. Raises :class:`BadConfigError`."""
    said = read_section(DurabilitySection, table, "[durability]")
    if not is_site(said.site):
        raise BadConfigError(
            f"[durability]: the setting 'site': no name of a site: {said.site[:100]!r}",
            hint=SITE_HINT,
        )
    lists = (said.lists,) if isinstance(said.lists, str) else said.lists
    if len(said.stores) > MOST_STORES:
        raise BadConfigError(
            f"[durability]: the setting 'stores' has more than {MOST_STORES} entries"
        )
    if len(lists) > _MOST_LISTS:
        raise BadConfigError(
            f"[durability]: the setting 'lists' has more than {_MOST_LISTS} entries"
        )
    return CopiesSettings(
        site=said.site,
        lists=tuple(dict.fromkeys(keep_list_path("[durability]", text) for text in lists)),
        copies=None if said.copies is None else _bytes("copies", said.copies),
        volunteer=_bytes("volunteer", said.volunteer),
        gone_after=said.gone_after * _HOUR,
        every=said.every * _MINUTE,
        challenges=said.challenges,
        stores=tuple(sorted(_store(site, url) for site, url in said.stores.items())),
        scrub=ScrubSettings(
            _every(said.scrub),
            _bytes("scrub-rate", said.scrub_rate),
            said.mend,
            _parity(said.parity),
        ),
    )


def _store(site: str, url: object) -> StoreSetting:
    where = "[durability]: the setting 'stores'"
    if not is_site(site):
        raise BadConfigError(f"{where}: no name of a site: {site[:100]!r}", hint=SITE_HINT)
    if not isinstance(url, str):
        raise BadConfigError(f"{where}: {site} is not a text", hint='write s3 = "s3://BUCKET"')
    try:
        return StoreSetting(site, check_place(url))
    except BadConfigError as error:
        raise BadConfigError(f"{where}: {site}: {error}", hint=error.hint) from None


def _every(said: str) -> float | None:
    if said not in _EVERY:
        raise BadConfigError(
            f"[durability]: the setting 'scrub': not known: {said[:100]!r}",
            hint=f"write one of {', '.join(_EVERY)}",
        )
    return _EVERY[said]


def _parity(said: str) -> Share | None:
    if said == "off":
        return None
    try:
        return Share.of_percent(float(said.strip().removesuffix("%")))
    except ValueError:
        raise BadConfigError(
            f"[durability]: the setting 'parity' is no share: {said[:100]!r}",
            hint='write it like parity = "2%", from 0.4% to 100%, or "off"',
        ) from None


def _bytes(key: str, said: str | float) -> int:
    found = bytes_of(str(said))
    if found is None:
        raise BadConfigError(
            f"[durability]: the setting {key!r} is no size: {str(said)[:100]!r}",
            hint=f'write it like {key} = "500GB"',
        )
    return found
