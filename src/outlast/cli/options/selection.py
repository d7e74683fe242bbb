"""Which files of a model: options of the commands that take some of them."""

from collections.abc import Callable
from typing import Any

import click


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--include`` and ``--exclude``."""
    for name, text in (("exclude", "Leave out these files"), ("include", "Take only these files")):
        command = click.option(
            f"--{name}", multiple=True, metavar="GLOB", help=f"{text} (repeatable)"
        )(command)
    return command
