"""``--strict``, and how warnings of suspect files are printed."""

import click

strict_option = click.option(
    "--strict",
    is_flag=True,
    help="Refuse files that are not what their names say, instead of a warning",
)


def warnings(count: int) -> str:
    """The end of a sentence about files, of which `count` are suspect."""
    return f", {count} WARNING{'S' if count > 1 else ''}" if count else ""
