"""All settings, as they are declared: of the file, of features, and of the environment alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

import msgspec

from outlast.cli.config.keys import SECTIONS
from outlast.cli.config.section import ConfigSection, Meaning, meaning_of
from outlast.cli.config.variables import OUTSIDE
from outlast.cli.feature import Listed, load

__all__ = ["DeclaredSection", "Setting", "sections", "settings"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: `key` names it (``swarm.peer-port``), and `name` is its key in its section.
    `default` is what the declaration says, as the file would.
    """

    key: str
    name: str
    about: Meaning
    default: Any = None


@dataclass(frozen=True, slots=True)
class DeclaredSection:
    """A table of the file; the one at its top has no name."""

    name: str
    text: str
    settings: tuple[Setting, ...]


def sections(features: Sequence[Listed] = ()) -> list[DeclaredSection]:
    """The tables of the file, and then those of features. Features that have one are imported."""
    own = {feature.name: load(feature.section) for feature in features if feature.section}
    return [_section(name, kind) for name, kind in {**SECTIONS, **own}.items()]


def settings(features: Sequence[Listed] = ()) -> list[Setting]:
    """Every setting: those of the file, section by section, then those of the environment alone."""
    inside = [setting for section in sections(features) for setting in section.settings]
    return inside + [Setting(key, key, about) for key, about in OUTSIDE.items()]


def _section(name: str, kind: type[ConfigSection]) -> DeclaredSection:
    return DeclaredSection(name, cleandoc(kind.__doc__ or ""), tuple(_settings(name, kind)))


def _settings(section: str, kind: type[ConfigSection]) -> Iterator[Setting]:
    """The keys of a table. A key that says nothing of itself is a table: of another section."""
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        about = meaning_of(field.type)
        if about is None:
            if section or name not in SECTIONS:
                raise TypeError(f"{kind.__name__}.{field.name} says nothing about itself")
            continue
        made = field.default_factory
        default = field.default if made is msgspec.NODEFAULT else made()
        key = f"{section}.{name}" if section else name
        yield Setting(key, name, about, default)
