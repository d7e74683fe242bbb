"""``--strict``, and how warnings of suspect files are printed."""

from collections.abc import Iterable

import click

from outlast.intake.content import Suspect

strict_option = click.option(
    "--strict",
    is_flag=True,
    help="Refuse files that are not what their names say, instead of a warning",
)


def suspects_json(suspects: Iterable[Suspect]) -> list[dict[str, str]]:
    """Warnings as JSON."""
    return [{"path": s.path, "kind": s.flaw.value, "reason": s.reason} for s in suspects]


def warnings(count: int) -> str:
    """The end of a sentence about files, of which `count` are suspect."""
    return f", {count} WARNING{'S' if count > 1 else ''}" if count else ""
