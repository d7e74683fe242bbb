"""``gateway.toml``: read, checked, and keys fetched from where the file says that they are."""

import ipaddress
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from urllib.parse import urlsplit

from msgspec import Meta

from outlast.cli.config.section import ConfigSection, Flag, SubTable, Text, Texts, read_section
from outlast.core.errors import BadConfigError, BadNameError
from outlast.core.names import RunTarget, Target
from outlast.features.gateway.routes.adapters import adapter_routes
from outlast.features.gateway.routes.values import (
    ASKS,
    AUTHS,
    MODES,
    SPEAKS,
    Asks,
    Auth,
    Clocks,
    Endpoint,
    GatewayRoute,
    GatewayRoutes,
    GatewayTarget,
    LocalModel,
    Mode,
    Speaks,
    TracingSettings,
)

if TYPE_CHECKING:
    from outlast.features.gateway.seams import Continuing

FILE_NAME: Final = "gateway.toml"
_MOST_BYTES: Final = 1024 * 1024
_MOST: Final = 1000
_MOST_REPLICAS: Final = 64
_MOST_KEY: Final = 4096
_ARCHIVE: Final = "archive"
_NANO: Final = 1_000_000_000
_CONTINUES: Final = ("prefill", "continue_final_message", "completion")
_HINT: Final = "'outlast guide gateway' shows a whole file"

_Seconds = Annotated[
    float, Meta(gt=0, le=86_400, description="the setting {!r} is not a number of seconds")
]
_Count = Annotated[int, Meta(ge=0, lt=2**31, description="the setting {!r} is not a number")]
_Share = Annotated[float, Meta(ge=0, le=1, description="the setting {!r} is not from 0 to 1")]
_Price = Annotated[float, Meta(ge=0, le=1e6, description="the setting {!r} is not a price")]


class _Head(ConfigSection, frozen=True):
    gateway: SubTable = {}  # noqa: RUF012 - msgspec copies it
    endpoints: SubTable = {}  # noqa: RUF012
    archive: SubTable = {}  # noqa: RUF012
    routes: SubTable = {}  # noqa: RUF012
    prices: SubTable = {}  # noqa: RUF012 - of the accounts, as those below
    local: SubTable = {}  # noqa: RUF012
    tariffs: SubTable = {}  # noqa: RUF012
    ledger: SubTable = {}  # noqa: RUF012
    tracing: SubTable = {}  # noqa: RUF012
    budgets: Annotated[
        list[SubTable], Meta(description="the setting {!r} is no list of tables")
    ] = []  # noqa: RUF012


class _Times(ConfigSection, frozen=True):
    connect: _Seconds | None = None
    first_token: _Seconds | None = None
    stall: _Seconds | None = None
    whole: _Seconds | None = None
    first_byte: _Seconds | None = None


class _GatewayTable(_Times, frozen=True, kw_only=True):
    drain: _Seconds = 30.0
    audits: Flag = True


class _EndpointTable(ConfigSection, frozen=True, kw_only=True):
    url: Texts
    key_env: Text = ""
    key_file: Text = ""
    auth: Text = "bearer"
    provider: Text = ""
    jurisdiction: Text = ""
    hosted: Flag | None = None
    continues: Text = ""
    stream_usage: Flag = True
    approved: Flag = False
    speaks: Text = "openai"


class _ArchiveTable(ConfigSection, frozen=True):
    warm: Flag = False
    idle: _Seconds = 600.0
    file: Text = ""
    context: _Count | None = None
    threads: _Count | None = None
    gpu_layers: _Count | None = None
    sealed: Flag = False


class _RouteTable(_Times, frozen=True, kw_only=True):
    targets: Texts
    mode: Text = "as-listed"
    latency_goal: _Seconds | None = None
    most_price: _Price | None = None
    substitutes: Flag = True
    only_allowed: Flag = False
    asks: Text = "chat"
    adapters: Texts = ()


class _TracingTable(ConfigSection, frozen=True, kw_only=True):
    endpoint: Text
    service: Text = "outlast-gateway"
    share: _Share = 1.0


def read_routes(path: Path, environ: Mapping[str, str]) -> GatewayRoutes:
    """What the file at `path` says; keys come from `environ` or from files that it names, relative
    to its own folder. Raises :class:`BadConfigError`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadConfigError(
            f"cannot read the routes in {path}: {error.strerror or error}", hint=_HINT
        ) from error
    if len(data) > _MOST_BYTES:
        raise BadConfigError(f"{path} is too large for a file of routes", hint=_HINT)
    try:
        table = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadConfigError(f"{path} is no TOML: {error}", hint=_HINT) from error
    try:
        return _read(table, path.parent, environ)
    except BadConfigError as error:
        raise BadConfigError(f"{path}: {error}", hint=error.hint) from None


def _read(table: Mapping[str, Any], folder: Path, environ: Mapping[str, str]) -> GatewayRoutes:
    head = read_section(_Head, table, "")
    top = read_section(_GatewayTable, head.gateway, "[gateway]")
    clocks = _clocks(top, Clocks())
    for name, part in (("endpoints", head.endpoints), ("routes", head.routes)):
        if len(part) > _MOST:
            raise BadConfigError(f"[{name}] has more than {_MOST} entries", hint=_HINT)
    endpoints = {
        name: _endpoint(name, said, folder, environ) for name, said in head.endpoints.items()
    }
    local = {name: _local(name, said) for name, said in head.archive.items()}
    routes: dict[str, GatewayRoute] = {}
    for name, said in head.routes.items():
        for route in _routes(name, said, endpoints, local, clocks):
            if route.name in routes:
                raise BadConfigError(f"there are two routes {route.name}", hint=_HINT)
            routes[route.name] = route
    if not routes:
        raise BadConfigError("there is no route", hint=_HINT)
    return GatewayRoutes(_one_engine_each(routes), top.drain, top.audits, _tracing(head.tracing))


def _tracing(table: Mapping[str, Any]) -> TracingSettings | None:
    if not table:
        return None
    said = read_section(_TracingTable, table, "[tracing]")
    return TracingSettings(
        _url("[tracing]", said.endpoint),
        _header_text("[tracing]", "service", said.service),
        said.share,
    )


def _one_engine_each(routes: Mapping[str, GatewayRoute]) -> dict[str, GatewayRoute]:
    """The same routes, where all targets of one base name one engine with all its adapters."""
    listed: dict[LocalModel, list[Target]] = {}
    for target in (target for route in routes.values() for target in route.targets):
        if target.local is not None and target.adapter is not None:
            listed.setdefault(target.local, []).append(target.adapter)
    whole = {
        model: replace(model, adapters=tuple(dict.fromkeys(adapters)))
        for model, adapters in listed.items()
    }

    def with_all(target: GatewayTarget) -> GatewayTarget:
        if target.local is None:
            return target
        return replace(target, local=whole.get(target.local, target.local))

    return {
        name: replace(route, targets=tuple(map(with_all, route.targets)))
        for name, route in routes.items()
    }


def _table(where: str, said: object) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise BadConfigError(f"{where} is no table", hint=_HINT)
    return said


def _clocks(said: _Times, usual: Clocks) -> Clocks:
    return Clocks(
        said.connect or usual.connect,
        said.first_token or usual.first_token,
        said.stall or usual.stall,
        said.whole or usual.whole,
        said.first_byte or usual.first_byte,
    )


def _one_of(where: str, key: str, said: str, known: tuple[str, ...]) -> str:
    if said not in known:
        raise BadConfigError(
            f"{where}: the setting {key!r}: not known: {said[:100]!r}",
            hint=f"write one of {', '.join(known)}",
        )
    return said


def _endpoint(name: str, table: object, folder: Path, environ: Mapping[str, str]) -> Endpoint:
    where = f"[endpoints.{name[:100]}]"
    if not name or ":" in name or not name.isprintable() or name == _ARCHIVE or len(name) > 100:
        raise BadConfigError(f"{where}: no name for an endpoint", hint="letters, digits and '-'")
    said = read_section(_EndpointTable, _table(where, table), where)
    listed = (said.url,) if isinstance(said.url, str) else said.url
    if not 0 < len(listed) <= _MOST_REPLICAS:
        raise BadConfigError(f"{where}: 1 to {_MOST_REPLICAS} URLs are possible", hint=_HINT)
    urls = tuple(_url(where, url) for url in listed)
    key, key_from = _key(where, said, folder, environ)
    continues = said.continues and _one_of(where, "continues", said.continues, _CONTINUES)
    hosted = said.hosted
    if hosted is None:
        hosted = not all(_is_near(urlsplit(url).hostname or "") for url in urls)
    return Endpoint(
        name,
        tuple(dict.fromkeys(urls)),
        key,
        key_from,
        cast("Auth", _one_of(where, "auth", said.auth, AUTHS)),
        _header_text(where, "provider", said.provider or name),
        _header_text(where, "jurisdiction", said.jurisdiction),
        hosted,
        cast("Continuing", continues) if continues else None,
        said.stream_usage,
        said.approved,
        cast("Speaks", _one_of(where, "speaks", said.speaks, SPEAKS)),
    )


def _url(where: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise BadConfigError(f"{where}: no URL: {url[:100]!r}", hint="write https://HOST/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadConfigError(
            f"{where}: a URL has no user, password, '?' or '#' here",
            hint="a key belongs into a file or the environment: key-file or key-env",
        )
    return url.rstrip("/")


def _is_near(host: str) -> bool:
    """Whether a host is on this machine or a private network: no provider's."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".lan", ".internal"))
    return address.is_loopback or address.is_private


def _key(
    where: str, said: _EndpointTable, folder: Path, environ: Mapping[str, str]
) -> tuple[str | None, str]:
    """The key, and where it stands. No error has any part of it."""
    if said.key_env and said.key_file:
        raise BadConfigError(f"{where}: key-env and key-file exclude each other", hint=_HINT)
    if said.key_env:
        source = f"the variable {said.key_env[:100]}"
        key = environ.get(said.key_env, "").strip()
        if not key:
            raise BadConfigError(f"{where}: {source} is not set", hint="set it, or use key-file")
    elif said.key_file:
        path = folder / os.path.expanduser(said.key_file)
        source = str(path)
        try:
            with open(path, "rb") as file:
                key = file.read(_MOST_KEY + 1).decode("ascii").strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise BadConfigError(f"{where}: cannot read the key in {path}: {why}") from None
    else:
        return None, ""
    if not key or len(key) > _MOST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise BadConfigError(f"{where}: {source} has no key, or more than one line")
    return key, source


def _header_text(where: str, key: str, said: str) -> str:
    """A text that may stand in a header of an answer."""
    if len(said) > 200 or not said.isascii() or not (said == "" or said.isprintable()):
        raise BadConfigError(f"{where}: the setting {key!r} is no short text of ASCII", hint=_HINT)
    return said


def _local(name: str, table: object) -> LocalModel:
    where = f'[archive."{name[:100]}"]'
    said = read_section(_ArchiveTable, _table(where, table), where)
    return LocalModel(
        _model(where, name),
        said.warm,
        said.idle,
        said.file or None,
        said.context,
        said.threads,
        said.gpu_layers,
        said.sealed,
    )


def _model(where: str, name: str) -> Target:
    try:
        return Target.parse(name)
    except BadNameError as error:
        raise BadConfigError(f"{where}: {error}", hint=error.hint) from None


def _named(where: str, name: str) -> RunTarget:
    try:
        return RunTarget.parse(name)
    except BadNameError as error:
        raise BadConfigError(f"{where}: {error}", hint=error.hint) from None


def _routes(
    name: str,
    table: object,
    endpoints: Mapping[str, Endpoint],
    local: Mapping[str, LocalModel],
    usual: Clocks,
) -> Iterator[GatewayRoute]:
    """The route of a table, and one for each of its adapters."""
    where = f"[routes.{name[:100]}]"
    if not name or len(name) > 200 or not name.isprintable() or not name.isascii():
        raise BadConfigError(f"{where}: no name for a route", hint=_HINT)
    said = read_section(_RouteTable, _table(where, table), where)
    listed = (said.targets,) if isinstance(said.targets, str) else said.targets
    if not 0 < len(listed) <= _MOST:
        raise BadConfigError(f"{where}: a route has 1 to {_MOST} targets", hint=_HINT)
    if len(set(listed)) != len(listed):
        raise BadConfigError(f"{where}: a target is named twice", hint=_HINT)
    mode = _one_of(where, "mode", said.mode, MODES)
    if mode == "fastest" and said.most_price is None:
        raise BadConfigError(
            f"{where}: the mode fastest needs most-price", hint="dollars a million tokens"
        )
    if mode == "cheapest" and said.latency_goal is None:
        raise BadConfigError(
            f"{where}: the mode cheapest needs latency-goal", hint="seconds to the first token"
        )
    route = GatewayRoute(
        name,
        tuple(_target(where, one, endpoints, local) for one in listed),
        cast("Mode", mode),
        said.latency_goal,
        None if said.most_price is None else round(said.most_price * _NANO),
        said.substitutes,
        said.only_allowed,
        cast("Asks", _one_of(where, "asks", said.asks, ASKS)),
        _clocks(said, usual),
    )
    yield route
    adapters = (said.adapters,) if isinstance(said.adapters, str) else said.adapters
    yield from adapter_routes(where, route, adapters)


def _target(
    where: str, said: str, endpoints: Mapping[str, Endpoint], local: Mapping[str, LocalModel]
) -> GatewayTarget:
    kind, colon, model = said.partition(":")
    _header_text(where, "targets", said)
    if not colon or not model:
        raise BadConfigError(
            f"{where}: no target: {said[:100]!r}",
            hint="write ENDPOINT:MODEL, archive:org/name or archive:org/base+org/adapter",
        )
    if kind == _ARCHIVE:
        found = _named(where, model)
        own = local.get(str(found.model)) or LocalModel(found.model)
        return GatewayTarget(said, model, local=own, adapter=found.adapter)
    if kind not in endpoints:
        raise BadConfigError(
            f"{where}: there is no [endpoints.{kind[:100]}]",
            hint=f"there are: {', '.join(sorted(endpoints)) or 'none'}",
        )
    return GatewayTarget(said, model, endpoints[kind])
