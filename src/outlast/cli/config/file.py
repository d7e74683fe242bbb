"""The configuration, read once at the edge: flag, then environment, then file, then default."""

import os
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from outlast import __version__
from outlast.cli.config.swarm import share_policy, swarm_settings
from outlast.cli.config.values import amount, check_url, parse_rate, parse_size, strings
from outlast.cli.feature import Listed
from outlast.core.errors import BadConfigError
from outlast.intake.form_policy import FormWish
from outlast.node.policy import SharePolicy
from outlast.sources.settings import HttpSettings, origin
from outlast.swarm.settings import SwarmSettings

if TYPE_CHECKING:
    from outlast.app import NodeSettings, Upstream

__all__ = [
    "PUBLIC_HUB",
    "Config",
    "check_url",
    "environment",
    "load_config",
    "parse_rate",
    "parse_size",
]

PUBLIC_HUB = "https://huggingface.co"
_FILE_LIMIT = 1024 * 1024
_KEYS = {"home", "from", "connections", "limit-rate", "tokens", "form", "working-copies"}
_KEYS |= {"swarm", "share"}
_TOKEN_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that outlast takes from its surroundings."""

    home: Path
    sources: tuple[str, ...]
    hub_cache: Path
    ca_bundle: str | None
    connections: int
    rate: int
    form: FormWish
    hub_token: str | None
    hub: str
    tokens: Mapping[str, str]
    simd: str | None
    working_copies: int | None
    """Bytes of disk for working copies of capsules; None: as the disk suggests."""
    swarm: SwarmSettings
    share: SharePolicy
    features: Mapping[str, Any] = field(default_factory=dict)
    """What the sections of features say, by the feature's name."""

    def feature(self, listed: Listed) -> Any:
        """The settings of a feature: its section, or its defaults."""
        if listed.name in self.features:
            return self.features[listed.name]
        return listed.load().settings({})

    def http(self) -> HttpSettings:
        """How to reach the outside, with the proxies of the environment (and of the system)."""
        import urllib.request  # noqa: PLC0415 - slow to import, and few commands need it

        return HttpSettings(
            user_agent=f"outlast/{__version__}",
            proxies=urllib.request.getproxies(),
            ca_bundle=self.ca_bundle,
        )

    def node(self, *, swarm: bool = True) -> "NodeSettings":
        """What a node of this configuration is; with `swarm` false, one that is turned off."""
        from outlast.app import NodeSettings  # noqa: PLC0415 - slow to import, as above

        enabled = self.swarm.enabled and swarm
        return NodeSettings(replace(self.swarm, enabled=enabled), self.share, self.http())

    def upstreams(self, urls: Iterable[str]) -> list["Upstream"]:
        """Hubs and mirrors, each with the token for it."""
        from outlast.app import Upstream  # noqa: PLC0415

        return [Upstream(url, self.token_for(url)) for url in urls]

    def token_for(self, url: str) -> str | None:
        """The token for a source: one that the configuration file gives to its host, or the
        user's hub token where the source is the user's hub.
        """
        for known, token in self.tokens.items():
            if origin(known) == origin(url):
                return token
        return self.hub_token if origin(url) == origin(self.hub) else None


def load_config(
    environ: Mapping[str, str], home: str | None = None, features: Sequence[Listed] = ()
) -> Config:
    """The configuration of this call; `home` is the flag's. Only features that have a section in
    the file are imported.
    """
    path = _path(environ.get("OUTLAST_CONFIG") or _config_file())
    sections = {listed.name: listed for listed in features}
    settings = _read_file(path, sections.keys(), required="OUTLAST_CONFIG" in environ)
    hub = check_url(environ.get("HF_ENDPOINT") or PUBLIC_HUB)
    hf_home = _path(
        environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    )
    return Config(
        home=_home(environ, settings, home),
        sources=tuple(map(check_url, strings(settings, "from"))) or (hub,),
        hub_cache=_path(environ.get("HF_HUB_CACHE") or hf_home / "hub"),
        ca_bundle=environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or None,
        connections=_positive(settings, "connections", 8),
        rate=parse_rate(amount(settings, "limit-rate", 0)),
        form=_form(environ, settings),
        hub_token=_hub_token(environ, hf_home),
        hub=hub,
        tokens=_tokens(settings),
        working_copies=_size(settings, "working-copies"),
        simd=environ.get("OUTLAST_SIMD") or None,
        swarm=swarm_settings(environ, settings),
        share=share_policy(settings),
        features={
            name: listed.load().settings(_section(settings, name))
            for name, listed in sections.items()
            if name in settings
        },
    )


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = settings[name]
    if not isinstance(table, dict):
        raise BadConfigError(f"the setting {name!r} is not a table", hint=f"write [{name}]")
    return table


def _config_file() -> Path:
    return platformdirs.user_config_path("outlast") / "config.toml"


def _path(text: str | Path) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        raise BadConfigError(f"not a usable path: {text}: {error}") from error


def _home(environ: Mapping[str, str], settings: Mapping[str, Any], flag: str | None) -> Path:
    home = settings.get("home", "")
    if not isinstance(home, str):
        raise BadConfigError("the setting 'home' is not a text")
    named = flag or environ.get("OUTLAST_HOME") or home
    return _path(str(named)) if named else platformdirs.user_data_path("outlast")


def _check_token(token: str, where: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadConfigError(f"the token in {where} holds characters that no token has")
    return token


def _read_file(path: Path, sections: Collection[str], *, required: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT)
    except FileNotFoundError:
        if required:
            raise BadConfigError(f"no configuration file at {path}") from None
        return {}
    except OSError as error:
        raise BadConfigError(f"{path}: {error.strerror}") from error
    try:
        settings = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadConfigError(f"{path} is not TOML: {error}") from error
    if unknown := settings.keys() - _KEYS - set(sections):
        known = ", ".join(sorted(_KEYS | set(sections)))
        raise BadConfigError(f"{path}: unknown key {min(unknown)!r}", hint=f"known: {known}")
    return settings


def _positive(settings: Mapping[str, Any], key: str, default: int) -> int:
    value = settings.get(key, default)
    if not isinstance(value, int) or not 1 <= value <= 256:
        raise BadConfigError(f"the setting {key!r} is not a number from 1 to 256")
    return value


def _form(environ: Mapping[str, str], settings: Mapping[str, Any]) -> FormWish:
    wish = environ.get("OUTLAST_FORM") or settings.get("form", FormWish.AUTO)
    try:
        return FormWish(wish)
    except ValueError:
        known = ", ".join(wish.value for wish in FormWish)
        raise BadConfigError(f"not a form: {wish!r}", hint=f"known: {known}") from None


def _size(settings: Mapping[str, Any], key: str) -> int | None:
    return parse_size(amount(settings, key, 0)) if key in settings else None


def _tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    tokens = settings.get("tokens", {})
    if not isinstance(tokens, dict):
        raise BadConfigError("the setting 'tokens' is not a table of URL = token")
    return {
        check_url(str(url)): _check_token(str(token), "the configuration file")
        for url, token in tokens.items()
    }


def _hub_token(environ: Mapping[str, str], hf_home: Path) -> str | None:
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    if token:
        return _check_token(token, "HF_TOKEN")
    path = _path(environ.get("HF_TOKEN_PATH") or hf_home / "token")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = file.read(_TOKEN_LIMIT)
    except OSError:
        return None
    return _check_token(found, str(path)) or None


def environment() -> Mapping[str, str]:
    """The process's environment: nothing below the edge reads it."""
    return os.environ
