"""A group whose subcommands are imported when they are called: help costs no import of them."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from outlast.cli.feature import load


class LateGroup(click.Group):
    """`late` maps the name of a subcommand to where it is (``module:name``) and to its line of the
    help. `require` is called before one is imported, and raises where what it needs is missing.
    """

    def __init__(
        self,
        *arguments: Any,
        late: Mapping[str, tuple[str, str]],
        require: Callable[[], object] = bool,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self._late = late
        self._require = require

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self._late)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in self._late:
            return None
        self._require()
        command: click.Command = load(self._late[cmd_name][0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._late.items()])
