"""``outlast audit``: a group whose first word is an address, unless it is a subcommand."""

from typing import Final

import click

from outlast.cli.options.late_group import LateGroup

SUBCOMMANDS: Final = {
    "endpoint": (
        "outlast.features.audit.commands.endpoint:endpoint",
        "Audit an endpoint; the word 'endpoint' may be left out.",
    ),
    "compare": (
        "outlast.features.audit.commands.compare:compare",
        "Rank several endpoints of one model, by their reports.",
    ),
    "watch": (
        "outlast.features.audit.commands.watch:watch",
        "Audit an endpoint again and again, and add up the evidence.",
    ),
    "contract": (
        "outlast.features.audit.commands.contract:contract",
        "Check whether an endpoint does what requests ask of it.",
    ),
    "speed": (
        "outlast.features.audit.commands.speed:speed",
        "Measure how fast an endpoint answers.",
    ),
    "replay": (
        "outlast.features.audit.commands.replay:replay",
        "Compute the verdict of a report anew, offline.",
    ),
}


class AuditGroup(LateGroup):
    """``outlast audit URL`` is ``outlast audit endpoint URL``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self._late and args[0] not in {"--help", "-h"}:
            args = ["endpoint", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=AuditGroup,
    late=SUBCOMMANDS,
    epilog="""\b
Examples:
  outlast audit https://api.example/v1 --model m --against org/name
  outlast audit replay report.json
  outlast audit compare one.json other.json

\b
Exit status:
  0 consistent · 10 divergent · 11 inconclusive · 12 untestable
""",
)
def audit() -> None:
    """Find out whether an endpoint serves the weights that this archive holds."""
