"""The options that say in which form files are kept."""

from collections.abc import Callable
from typing import Any

import click

from outlast.cli.config.file import Config
from outlast.cli.edge import TARGET
from outlast.cli.render import human_size
from outlast.core.errors import UsageError
from outlast.core.names import Target
from outlast.intake.form_policy import FormWish, FormWishes


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--form``, ``--base`` and ``--no-base``."""
    options = (
        click.option(
            "--form",
            type=click.Choice([wish.value for wish in FormWish]),
            help="plain; capsule: compressed where that saves anything; auto: where it saves 3 %"
            "  [env: OUTLAST_FORM] [default: auto]",
        ),
        click.option("--base", type=TARGET, help="Lean on this model, whatever the card says"),
        click.option("--no-base", is_flag=True, help="Lean on no other model"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def form_wishes(
    config: Config, form: str | None, base: Target | None, *, no_base: bool
) -> FormWishes:
    """What the options and the configuration ask for together."""
    if base is not None and no_base:
        raise UsageError("--base and --no-base contradict each other", hint="give one of them")
    return FormWishes(FormWish(form) if form else config.form, base, allow_bases=not no_base)


def kept_in(size: int, held: int) -> str:
    """The end of a sentence about files of `size` bytes that `held` bytes of the disk hold."""
    return f", kept in {human_size(held)}" if held < size else ""
