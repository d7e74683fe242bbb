"""The configuration, read once at the edge: flag, then environment, then file, then default."""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import platformdirs

from outlast import __version__
from outlast.cli.config.environ import s3_of, swarm_of
from outlast.cli.config.settings import FileSettings, S3Settings, ServeSettings
from outlast.cli.config.values import (
    check_host,
    check_token,
    check_url,
    parse_form,
    parse_rate,
    parse_size,
)
from outlast.cli.feature import Listed
from outlast.core.errors import BadConfigError
from outlast.intake.form_policy import FormWish
from outlast.node.policy import SharePolicy
from outlast.sources.kinds import S3, STORE, place_of
from outlast.sources.settings import HttpSettings, origin
from outlast.swarm.settings import SwarmSettings

if TYPE_CHECKING:
    from outlast.app import NodeSettings, Upstream
    from outlast.bucket.home import SecondHome

__all__ = [
    "PUBLIC_HUB",
    "Config",
    "check_url",
    "environment",
    "load_config",
    "parse_rate",
    "parse_size",
]

T = TypeVar("T")
R = TypeVar("R")

PUBLIC_HUB = "https://huggingface.co"
_FILE_LIMIT = 1024 * 1024
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
    gc_grace: float
    recheck_days: float
    """Days that what was collected waits in the trash."""
    swarm: SwarmSettings
    share: SharePolicy
    serve: ServeSettings
    s3: S3Settings
    identity: Path | None = None
    """The file with the keys to encrypted bundles."""
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
            s3=self.s3.place,
            identity=self.identity,
        )

    def node(self, *, swarm: bool = True) -> "NodeSettings":
        """What a node of this configuration is; with `swarm` false, one that is turned off."""
        from outlast.app import NodeSettings  # noqa: PLC0415 - slow to import, as above

        enabled = self.swarm.enabled and swarm
        return NodeSettings(
            replace(self.swarm, enabled=enabled), self.share, self.http(), self.serve.hosts
        )

    def answering_to(self, names: Iterable[str]) -> "Config":
        """This configuration with further names that the servers answer to."""
        hosts = dict.fromkeys((*self.serve.hosts, *map(check_host, names)))
        return replace(self, serve=replace(self.serve, hosts=tuple(hosts)))

    def upstreams(self, urls: Iterable[str]) -> list["Upstream"]:
        """Sources as they are written in full, each with the token for it."""
        from outlast.app import Upstream  # noqa: PLC0415

        return [Upstream(url, self.token_for(url)) for url in urls]

    def token_for(self, url: str) -> str | None:
        """The token for a source: one that the configuration file gives to its host, or the
        user's hub token where the source is the user's hub; the keys, where it is a bucket.
        """
        asked = place_of(url)
        if asked[0] == S3:
            return self.s3.keys
        if asked[0] == STORE:  # without keys of the file, the platform's own chain counts
            return self.s3.keys if asked[1].startswith("s3:") else None
        for known, token in self.tokens.items():
            if origin(known) == asked:
                return token
        return self.hub_token if asked == origin(self.hub) else None

    def open_home(self, url: str, *, create: bool = False) -> "SecondHome":
        """A second home, with the keys for it. Raises as `app.open_home` does."""
        from outlast.app import open_home  # noqa: PLC0415
        from outlast.bucket.objects import check_place  # noqa: PLC0415

        keys = self.token_for(f"{STORE}+{check_place(url)}")
        return open_home(url, self.s3.place, keys, create=create)


def load_config(
    environ: Mapping[str, str], home: str | None = None, features: Sequence[Listed] = ()
) -> Config:
    """The configuration of this call; `home` is the flag's. Only features that have a section in
    the file are imported.
    """
    path = config_path(environ)
    return config_of(read_table(environ), environ, home, path=path, features=features)


def config_of(
    table: Mapping[str, Any],
    environ: Mapping[str, str],
    home: str | None = None,
    *,
    path: Path | None = None,
    features: Sequence[Listed] = (),
) -> Config:
    """The configuration where the file `path` says `table`."""
    said = _settings(table, features, path)
    hub = _said("HF_ENDPOINT", environ.get("HF_ENDPOINT") or PUBLIC_HUB, check_url)
    hf_home = _hf_home(environ)
    form = environ.get("OUTLAST_FORM")
    named = home or environ.get("OUTLAST_HOME") or said.home
    return Config(
        home=_path(named) if named else platformdirs.user_data_path("outlast"),
        sources=said.sources or (hub,),
        hub_cache=_path(environ.get("HF_HUB_CACHE") or hf_home / "hub"),
        ca_bundle=environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or None,
        connections=said.connections,
        rate=said.rate,
        form=_said("OUTLAST_FORM", form, parse_form) if form else said.form,
        hub_token=_hub_token(environ),
        hub=hub,
        tokens=said.tokens,
        working_copies=said.working_copies,
        gc_grace=said.gc_grace,
        recheck_days=said.recheck_days,
        simd=environ.get("OUTLAST_SIMD") or None,
        swarm=swarm_of(said.swarm, environ),
        share=said.share,
        serve=said.serve,
        s3=s3_of(said.s3, environ),
        identity=_path(said.identity) if said.identity else None,
        features=said.features,
    )


def config_path(environ: Mapping[str, str]) -> Path:
    """The configuration file, which need not exist."""
    return _path(
        environ.get("OUTLAST_CONFIG") or platformdirs.user_config_path("outlast") / "config.toml"
    )


def token_path(environ: Mapping[str, str]) -> Path:
    """The file with the user's hub token, which need not exist."""
    return _path(environ.get("HF_TOKEN_PATH") or _hf_home(environ) / "token")


def _hf_home(environ: Mapping[str, str]) -> Path:
    return _path(
        environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    )


def _path(text: str | Path) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        raise BadConfigError(f"not a usable path: {text}: {error}") from error


def read_table(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """What the configuration file says, nothing of which is checked; empty where there is none."""
    path = config_path(environ)
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT)
    except FileNotFoundError:
        if "OUTLAST_CONFIG" in environ:
            hint = "'outlast config --init' writes one"
            raise BadConfigError(f"no configuration file at {path}", hint=hint) from None
        return {}
    except OSError as error:
        raise BadConfigError(f"{path}: {error.strerror}") from error
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadConfigError(f"{path} is not TOML: {error}") from error


def _settings(
    table: Mapping[str, Any], features: Sequence[Listed], path: Path | None
) -> FileSettings:
    """What the file says; an error names the file, whichever section it is of."""
    if not table:
        return FileSettings()
    # Imports msgspec, which takes as long as a tenth of a short command.
    from outlast.cli.config.sections import read_file  # noqa: PLC0415

    return _said(path, table, lambda said: read_file(said, features))


def _said(place: object, said: T, read: Callable[[T], R]) -> R:
    """What `read` makes of what the file or the variable `place` says; its error names `place`."""
    try:
        return read(said)
    except BadConfigError as error:
        text = str(error) if place is None else f"{place}: {error}"
        raise BadConfigError(text, hint=error.hint) from None


def _hub_token(environ: Mapping[str, str]) -> str | None:
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    if token:
        return check_token(token, "HF_TOKEN")
    path = token_path(environ)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = file.read(_TOKEN_LIMIT)
    except OSError:
        return None
    return check_token(found, str(path)) or None


def environment() -> Mapping[str, str]:
    """The process's environment: nothing below the edge reads it."""
    return os.environ
