"""``--debug``: an option of the program and of every command. Apart from `cli.edge`, so that help
loads little.
"""

from typing import Final

import click

DEBUG: Final = "outlast.debug"
"""Where the context of a call remembers the option."""


def _note_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    del param
    if value:
        ctx.meta[DEBUG] = True


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_note_debug,
    help="Say on stderr why each decision is made  [env: OUTLAST_LOG=debug]",
)
