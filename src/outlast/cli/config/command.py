"""``outlast config``."""

import difflib
from collections.abc import Sequence
from functools import partial

import click

from outlast.cli.config.file import config_path, environment
from outlast.cli.config.origins import Held, held
from outlast.cli.config.template import template, write
from outlast.cli.config.written import toml
from outlast.cli.documents.settings import ConfigWrittenDocument, SettingDocument
from outlast.cli.edge import common, listed_features, session
from outlast.cli.feature import Listed
from outlast.cli.screen.render import print_document, print_table
from outlast.core.errors import BadConfigError, UsageError


@click.command(
    epilog="""\b
Examples:
  outlast config
  outlast config swarm.peer-port
  outlast config share --json
  outlast config --init

\b
Exit status:
  0 done · 2 a setting is wrong, or there is none of that name · 8 storage
"""
)
@click.argument("key", required=False)
@click.option("--init", is_flag=True, help="Write a file with all settings as comments")
@click.option("--force", is_flag=True, help="With --init: replace a file, and keep it as .bak")
@partial(common, json="Print JSON, one object for each setting")
def config(
    key: str | None, *, init: bool, force: bool, home: str | None, as_json: bool, quiet: bool
) -> None:
    """Show every setting, its value, and where the value comes from: a flag, a variable of the
    environment, the configuration file or the default. With KEY, show one setting or one section.

    Tokens and passwords are not shown. --init writes the file that would be read, with each setting
    explained and its default.
    """
    if force and not init:
        raise UsageError("--force goes with --init")
    if init:
        if key is not None:
            raise UsageError("--init goes without KEY")
        # Without a session: the file that is there may be wrong.
        features = listed_features(click.get_current_context())
        _write(features, force=force, as_json=as_json)
        return
    with session(home, as_json=as_json, quiet=quiet) as run:
        found = held(environment(), home, run.features)
    if key is not None:
        found = _named(found, key)
    if as_json:
        for each in found:
            print_document(_document(each))
    elif key is not None and len(found) == 1:
        _print_one(found[0])
    else:
        rows = [(each.setting.key, _shown(each), each.named or each.origin) for each in found]
        print_table([("SETTING", "VALUE", "FROM"), *rows])


def _write(features: Sequence[Listed], *, force: bool, as_json: bool) -> None:
    path = config_path(environment())
    backup = write(path, template(features), force=force)
    if as_json:
        print_document(ConfigWrittenDocument(path=path, backup=backup))
    else:
        print(f"wrote {path}" + (f"; the file before is {backup}" if backup is not None else ""))


def _named(found: Sequence[Held], key: str) -> list[Held]:
    """The setting of that name, or the settings of the section."""
    some = [each for each in found if each.setting.key == key]
    some = some or [each for each in found if each.setting.key.startswith(f"{key}.")]
    if not some:
        near = difflib.get_close_matches(key, [each.setting.key for each in found], 1)
        near = near or [each.setting.key for each in found if each.setting.name == key][:1]
        hint = f"did you mean {near[0]}?" if near else "'outlast config' lists the settings"
        raise BadConfigError(f"there is no setting {key[:200]!r}", hint=hint)
    return some


def _shown(each: Held) -> str:
    """The value for a person; what a missing one means, in words."""
    value, about = each.value, each.setting.about
    if value in (None, [], {}) or (value == 0 and about.default and about.unit):
        return about.default or "none"
    return str(value) if isinstance(value, str) else toml(value, about.unit).strip('"')


def _print_one(each: Held) -> None:
    setting, about = each.setting, each.setting.about
    lines = [
        ("setting", setting.key),
        ("value", _shown(each)),
        ("from", each.named or each.origin),
        ("flag", about.flag),
        ("variable", ", ".join(about.environment)),
        ("about", about.text),
    ]
    print_table([line for line in lines if line[1]])


def _document(each: Held) -> SettingDocument:
    setting, about = each.setting, each.setting.about
    return SettingDocument(
        key=setting.key,
        value=each.value,
        unit=about.unit or None,
        origin=each.origin,
        from_=each.named or None,
        flag=about.flag or None,
        environment=about.environment,
        about=about.text,
    )
