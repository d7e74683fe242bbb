"""``outlast policy``."""

import click

from outlast.features.trust.commands.screen import screen_command


@click.group()
def policy() -> None:
    """What this archive's operator wants to know and to forbid about models."""


policy.add_command(screen_command)
