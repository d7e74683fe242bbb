"""The tables of docs/guide/configuration.md, from the declarations of the settings."""

from collections.abc import Iterable

from docs.parts import with_part
from outlast.cli.config.declared import Setting, sections, settings
from outlast.cli.config.variables import OUTSIDE
from outlast.cli.config.written import toml, written
from outlast.features import FEATURES


def settings_table(rows: Iterable[Setting], *, section: bool) -> str:
    """Settings as a table: of a section of the file, or all that the environment can say too."""
    head = (
        "| key | what | default |"
        if section
        else "| setting | what | flag | environment | default |"
    )
    lines = [head, "|".join(["", *["---"] * (head.count("|") - 1), ""])]
    for setting in rows:
        about = setting.about
        default = about.default or f"`{toml(written(setting.default), about.unit)}`"
        text = f"{about.text.removesuffix('.')}{'. ' if about.more else ''}{about.more}"
        how = [] if section else [_code(about.flag), _code(*about.environment)]
        for word, names in (("Flag", [about.flag]), ("Environment", about.environment)):
            if section and any(names):
                text += f". {word}: {_code(*names)}"
        lines.append(f"| {' | '.join([f'`{setting.name}`', text, *how, default])} |")
    return "\n".join(lines) + "\n"


def _code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words if word)


def configuration(text: str) -> str:
    """The guide to the settings, with its tables."""
    for section in sections(FEATURES):
        name = section.name or "settings"
        table = settings_table(section.settings, section=bool(section.name))
        text = with_part(text, name, table)
    outside = [setting for setting in settings(FEATURES) if setting.key in OUTSIDE]
    return with_part(text, "variables", settings_table(outside, section=False))
