"""The options that choose how files are stored: plain, compressed, or as a delta."""

from collections.abc import Callable
from typing import Any

import click

from outlast.cli.config.file import Config
from outlast.cli.edge import TARGET
from outlast.core.errors import UsageError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.intake.form_policy import FormWish, FormWishes


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--form``, ``--base`` and ``--no-base``."""
    options = (
        click.option(
            "--form",
            type=click.Choice([wish.value for wish in FormWish]),
            help="plain: uncompressed; capsule: compressed if that saves anything; auto: if it"
            " saves 3 %  [env: OUTLAST_FORM] [default: auto]",
        ),
        click.option(
            "--base",
            type=TARGET,
            help="Compress against this model, not the base_model that the model's README names",
        ),
        click.option("--no-base", is_flag=True, help="Compress against no other model"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def form_wishes(
    config: Config, form: str | None, base: Target | None, *, no_base: bool
) -> FormWishes:
    """The options, with the configuration for those that were not given."""
    if base is not None and no_base:
        raise UsageError("--base and --no-base contradict each other", hint="give one of them")
    return FormWishes(FormWish(form) if form else config.form, base, allow_bases=not no_base)


def kept_in(size: int, held: int) -> str:
    """The end of a sentence about files of `size` bytes that take `held` bytes of the disk."""
    return f", kept in {human_size(held)}" if size else ""
