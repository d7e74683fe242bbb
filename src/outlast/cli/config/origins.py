"""What holds in this call, and where each setting comes from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from outlast.cli.config.declared import Setting, settings
from outlast.cli.config.file import Config, config_of, config_path, read_table, token_path
from outlast.cli.config.written import written
from outlast.cli.feature import Listed

Origin: TypeAlias = Literal["flag", "environment", "file", "setting", "default"]
SET: Final = "(set)"
"""Stands in place of a secret."""


@dataclass(frozen=True, slots=True)
class Held:
    """A setting with its value, as the file would write it. `named` is the flag, the variable, the
    file or the other setting that the value comes from; empty for a default. The value of a secret
    says no more than that there is one, and for which URL.
    """

    setting: Setting
    value: Any
    origin: Origin
    named: str = ""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a call of a command was given."""

    environ: Mapping[str, str]
    home: str | None
    table: Mapping[str, Any]
    config: Config


def held(
    environ: Mapping[str, str], home: str | None = None, features: Sequence[Listed] = ()
) -> list[Held]:
    """Every setting of a call; `home` is the flag's. Raises
    :class:`~outlast.core.errors.BadConfigError` where one is wrong.
    """
    table = read_table(environ)
    config = config_of(table, environ, home, path=config_path(environ), features=features)
    call = _Inputs(environ, home, table, config)
    return [_held(call, setting) for setting in settings(features)]


def _held(call: _Inputs, setting: Setting) -> Held:
    origin, named = _origin(call, setting)
    value = _value(call, setting)
    if setting.about.secret:
        value = _masked(value)
    return Held(setting, _without_secrets(value), origin, named)


def _origin(call: _Inputs, setting: Setting) -> tuple[Origin, str]:
    about, config = setting.about, call.config
    variables = _variables(call.environ, about.environment)
    in_file = _is_said(call, setting)
    if setting.key == "home" and call.home:
        return "flag", "--home"
    if in_file and about.off_by and attrgetter(about.off_by)(config):
        return "setting", about.off_by
    if in_file and (about.file_first or not variables):
        return "file", str(config_path(call.environ))
    if variables:
        shown = variables if setting.key == "proxies" else variables[:1]
        return "environment", ", ".join(shown)
    if setting.key == "hub-token" and config.hub_token:
        return "file", str(token_path(call.environ))
    return ("environment", about.follows) if _follows(call, setting) else ("default", "")


def _follows(call: _Inputs, setting: Setting) -> bool:
    """Whether the default lies in the folder that a variable names: not on every platform."""
    base = call.environ.get(setting.about.follows, "").strip()
    return bool(base) and Path(_value(call, setting)).is_relative_to(base)


def _variables(environ: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Those that say something. Those of proxies count in small letters too."""
    spelled = [*names, *(name.lower() for name in names if name.endswith("_PROXY"))]
    return [name for name in spelled if environ.get(name, "").strip(" ,")]


def _is_said(call: _Inputs, setting: Setting) -> bool:
    """Whether the file has the key."""
    section, dot, name = setting.key.rpartition(".")
    table = call.table.get(section, {}) if dot else call.table
    return bool(table.get(name, {}) != {})  # an empty table says nothing


def _value(call: _Inputs, setting: Setting) -> Any:
    config = call.config
    if setting.about.at:
        return written(attrgetter(setting.about.at)(config))
    if setting.key == "proxies":
        return dict(config.http().proxies)
    if setting.key == "log":
        return call.environ.get("OUTLAST_LOG") or None
    if setting.key == "config-file":
        return str(config_path(call.environ))
    section, _, name = setting.key.rpartition(".")
    return written(call.table.get(section, {}).get(name, setting.default))


def _masked(value: Any) -> Any:
    """That a secret is set, and for what."""
    if isinstance(value, Mapping):
        return dict.fromkeys(value, SET)
    return SET if value else None


def _without_secrets(value: Any) -> Any:
    """A value whose URLs lack what may be secret: passwords, and what follows a question mark."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return _plain_url(value) if isinstance(value, str) and "://" in value else value


def _plain_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        address = parts.netloc.rpartition("@")[2]
        user = f"{SET}@" if "@" in parts.netloc else ""
        query = f"?{SET}" if parts.query else ""
    except ValueError:
        return SET
    return f"{parts.scheme}://{user}{address}{parts.path}{query}"
