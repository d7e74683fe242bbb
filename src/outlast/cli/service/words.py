"""The options that a service is to run with, as its own command reads them: what is mistyped fails
when the unit is written, and not when the service starts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import click
from click.core import ParameterSource

from outlast.cli.config.file import parse_rate
from outlast.cli.config.values import check_host, check_source
from outlast.cli.edge import host_and_port
from outlast.core.errors import UsageError

_OURS: Final = {
    "home": "--home DIR goes before the --",
    "file": "--sync FILE goes before the --",
    "dry_run": "a service is to do something",
}
"""Parameters that the unit sets, or must not have."""
_STAND_IN: Final = "/dev/null"
"""For the list that `sync` asks for: the unit names it."""


def read_words(command: click.Command, words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The same words in one spelling (``--name=value``, paths whole), and the parameters that they
    give. Raises :class:`UsageError` and click's errors as `command` itself would.
    """
    root = click.get_current_context().find_root()
    context = command.make_context(command.name, [*_required(command), *words], parent=root)
    said: list[str] = []
    for parameter in command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        given = context.params.get(name, True)  # --debug leaves nothing there
        if name in _OURS and not (name == "file" and given == _STAND_IN):
            raise UsageError(f"{parameter.opts[0]} is not for a service", hint=_OURS[name])
        if name != "file":
            said += _spelled(parameter, given)
    _check(context.params)
    return said, context.params


class WithWords(click.Command):
    """A command that takes the options of others after ``--``, and says so where that is missing.
    `others` are those, each with the words that mean it.
    """

    others: ClassVar[Mapping[str, click.Command]]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            option = error.option_name
            names = [name for name, other in self.others.items() if _takes(other, option)]
            if not names:
                raise
            raise UsageError(
                f"{option} is an option of {' and of '.join(names)}",
                hint=f"write it after a -- that stands alone: -- {option} ...",
            ) from None


def _takes(command: click.Command, option: str) -> bool:
    return any(
        option in (*parameter.opts, *parameter.secondary_opts) and parameter.name not in _OURS
        for parameter in command.params
    )


def _required(command: click.Command) -> list[str]:
    has = any(parameter.name == "file" for parameter in command.params)
    return [f"--file={_STAND_IN}"] if has else []


def _spelled(parameter: click.Parameter, given: Any) -> list[str]:
    option = parameter.opts[-1]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [option] if given else []
    values = given if parameter.multiple else [given]
    return [
        f"{option}={value.absolute() if isinstance(value, Path) else value}" for value in values
    ]


def _check(given: dict[str, Any]) -> None:
    """What the command itself looks at only when it runs."""
    if listen := given.get("listen"):
        host_and_port(listen, 0)
    for url in given.get("urls", ()):
        check_source(url)
    for host in given.get("hosts", ()):
        check_host(host)
    if rate := given.get("limit_rate"):
        parse_rate(rate)
