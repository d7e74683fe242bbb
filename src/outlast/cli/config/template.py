"""A configuration file for a person to fill in: every setting, with its default, commented out.

A line without its first ``#`` is a setting or, where it began with ``##``, still a comment.
"""

import contextlib
import os
import secrets
import textwrap
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from outlast.cli.config.declared import DeclaredSection, Setting, sections
from outlast.cli.config.file import Config, config_of
from outlast.cli.config.written import toml, written
from outlast.cli.feature import Listed
from outlast.core.errors import UsageError
from outlast.store import disk

_WIDTH: Final = 90
_MODE: Final = 0o600
"""The file may hold tokens."""
_HEAD: Final = (
    "Settings of outlast. Remove the # before a setting to change it: it stands at its default, "
    "but where 'An example' is said. 'outlast config' shows what holds and where it comes from; "
    "'outlast guide configuration' says more."
)


def template(features: Sequence[Listed] = ()) -> str:
    """The text of the file."""
    defaults = config_of({}, {})
    lines = [*_comment(_HEAD), ""]
    for section in sections(features):
        lines += _lines(section, defaults)
    return "\n".join(lines).rstrip() + "\n"


def _lines(section: DeclaredSection, defaults: Config) -> Iterator[str]:
    """A section: first its keys, then those that are tables of their own."""
    if section.name:
        yield f"[{section.name}]"
    yield from _comment(section.text)
    yield ""
    tables = []
    for setting in section.settings:
        value = _value(setting, defaults)
        if isinstance(value, dict):
            tables.append((setting, value))
            continue
        yield from _comment(_explained(setting))
        yield f"#{setting.name} = {toml(value, setting.about.unit)}"
        yield ""
    for setting, value in tables:
        yield f"[{setting.key}]"
        yield from _comment(_explained(setting))
        yield from (f"#{toml(key)} = {toml(item)}" for key, item in value.items())
        yield ""


def _value(setting: Setting, defaults: Config) -> Any:
    """The default, or an example where it cannot be written."""
    about = setting.about
    if about.example is not None:
        return about.example
    return written(attrgetter(about.at)(defaults) if about.at else setting.default)


def _explained(setting: Setting) -> str:
    about = setting.about
    default = f" Default: {about.default}. An example:" if about.example is not None else ""
    return f"{about.text}{default}".replace("`", "")


def _comment(text: str) -> list[str]:
    width = _WIDTH - len("## ")
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [f"## {line}" for line in lines]


def write(path: Path, text: str, *, force: bool) -> Path | None:
    """Writes a configuration file, whole or not at all, for its owner alone. With `force` it takes
    the place of one that is there, which stays beside it: its path, or None where none was. Without
    it, :class:`~outlast.core.errors.UsageError` refuses that. Raises
    :class:`~outlast.core.errors.StorageError`.
    """
    final = Path(os.path.realpath(path))  # a link to the file, as people keep them, stays one
    temp = final.with_name(f".{final.name}.{secrets.token_hex(8)}")
    with disk.reporting(final):
        disk.make_dir(final.parent)
        try:
            disk.write_temp(temp, text.encode(), _MODE)
            backup = _keep(final, temp) if force else None
            if force or _has_no_links(temp, final):
                disk.publish(temp, final)
        finally:
            with contextlib.suppress(OSError):
                disk.remove(temp)
    return backup


def _has_no_links(temp: Path, final: Path) -> bool:
    """Publishes a new file where there is none; True where only a rename can do that."""
    done = disk.publish_new(temp, final)
    if done is False or (done is None and os.path.lexists(final)):
        hint = f"--force replaces it, and keeps it as {final.name}.bak"
        raise UsageError(f"{final} exists", hint=hint)
    return done is None


def _keep(final: Path, temp: Path) -> Path | None:
    """Gives the file that is there a second name, in place of the backup before."""
    backup = final.with_name(f"{final.name}.bak")
    copy = temp.with_name(f"{temp.name}.bak")
    try:
        disk.link_or_copy(final, copy)
    except FileNotFoundError:
        return None
    disk.set_mode(copy, _MODE)
    os.rename(copy, backup)
    return backup
