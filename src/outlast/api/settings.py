"""The settings of an open archive: those of the command line, or none but the defaults."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from outlast import __version__
from outlast.cli.config.file import Config, environment, load_config
from outlast.cli.config.values import check_source, check_token
from outlast.cli.feature import gate_of
from outlast.codec import kernels
from outlast.core.errors import UsageError
from outlast.core.policy import Gate
from outlast.features import FEATURES
from outlast.sources.kinds import parse_source, place_of
from outlast.sources.settings import HttpSettings

if TYPE_CHECKING:
    from outlast.app import NodeSettings, Upstream

_NOTHING: Final = {"OUTLAST_CONFIG": os.devnull, "HF_TOKEN_PATH": os.devnull}
"""An environment that names an empty configuration file, and no token."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the surroundings say; nothing of them counts unless they are `followed`."""

    config: Config
    followed: bool

    def http(self) -> HttpSettings:
        """How to reach hubs, with the proxies of the environment where it counts."""
        return self.config.http() if self.followed else HttpSettings(f"outlast/{__version__}")

    def gate(self) -> Gate:
        """The rules that hold for the archive."""
        return gate_of(FEATURES, self.config.features, self.config.home)

    def node(self) -> "NodeSettings":
        """What a node is while a pull runs."""
        return replace(self.config.node(), http=self.http())

    def upstreams(
        self, urls: Sequence[str], token: str | Mapping[str, str] | None
    ) -> list["Upstream"]:
        """The sources to ask, each with the token for it and no other's."""
        from outlast.app import Upstream  # noqa: PLC0415 - slow to import, and only pulls need it

        checked = [check_source(url, named=True) for url in urls] or list(self.config.sources)
        if token is None:
            return self.config.upstreams(checked)
        tokens = _tokens(checked, token)
        return [Upstream(url, tokens.get(place_of(url))) for url in checked]


def _tokens(urls: Sequence[str], token: str | Mapping[str, str]) -> dict[tuple[str, str, int], str]:
    """The given tokens by the host that they are for; an empty one is none."""
    if isinstance(token, str):
        hosts = {place_of(url) for url in urls}
        if len(hosts) > 1:
            raise UsageError(
                "one token, and sources on several hosts: each would get it",
                hint="give token={'https://host': 'token', …}",
            )
        token = {parse_source(url).url: token for url in urls}
    given = {place_of(check_source(url)): check_token(text, "token") for url, text in token.items()}
    return {host: text for host, text in given.items() if text}


def read(home: str | os.PathLike[str] | None, *, configured: bool) -> Settings:
    """The settings for the archive in `home`. Raises :class:`BadConfigError`."""
    named = None if home is None else os.fspath(home)
    if not configured and not named:
        raise UsageError("no folder was named", hint="outlast.open(FOLDER, configured=False)")
    config = load_config(environment() if configured else _NOTHING, named, FEATURES)
    if config.simd:
        kernels.use_named(config.simd)
    return Settings(config, configured)
