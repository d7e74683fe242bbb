"""``outlast gateway``: the group of the commands for keys, usage and costs."""

from typing import Final

import click

from outlast.cli.feature import load

SUBCOMMANDS: Final = {
    "keys": (
        "outlast.features.gateway.commands.keys:keys",
        "Make, list, change and revoke keys of users, with budgets.",
    ),
    "usage": (
        "outlast.features.gateway.commands.usage:usage",
        "Show what was used, by origin.",
    ),
    "costs": (
        "outlast.features.gateway.commands.costs:costs",
        "Compare hosted models with one's own.",
    ),
}


class AccountCommands(click.Group):
    """Each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = load(SUBCOMMANDS[cmd_name][0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in SUBCOMMANDS.items()])


@click.group(
    cls=AccountCommands,
    epilog="""\b
Examples:
  outlast gateway keys new alice --budget day:money=5
  outlast gateway usage --csv > usage.csv
  outlast gateway costs

\b
Exit status:
  0 done · 2 usage · 3 no such key · 4 the file of keys, or what was spent, is damaged · 8 storage
""",
)
def gateway() -> None:
    """Say who may use the gateway and how much, and show what was used and what it cost."""
