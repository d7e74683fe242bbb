"""How a model and its adapter are named and opened for a run."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from outlast.cli.edge import TARGET, Session
from outlast.core.names import RunTarget
from outlast.ops.run import Prepared
from outlast.ops.run_adapter import ReadyAdapter, prepare_adapter
from outlast.store.archive import Archive

any_base_option = click.option(
    "--any-base", is_flag=True, help="Run an adapter on another base than its own"
)


class RunTargetType(click.ParamType[RunTarget]):
    """``org/name[@ref]``, or a base and an adapter with a + between them."""

    name = "org/name[@ref]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> RunTarget:
        del param, ctx
        return value if isinstance(value, RunTarget) else RunTarget.parse(str(value))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        return TARGET.shell_complete(ctx, param, incomplete)


RUN_TARGET = RunTargetType()


@contextlib.contextmanager
def opened_adapter(
    call: Session,
    archive: Archive,
    target: RunTarget,
    prepared: Prepared,
    options: Mapping[str, Any],
) -> Iterator[ReadyAdapter | None]:
    """The adapter that was asked for, if one was."""
    if target.adapter is None:
        yield None
        return
    with prepare_adapter(
        archive,
        target.adapter,
        prepared.revision,
        any_base=options["any_base"],
        budget=options["budget"],
        assessor=lambda: call.assessor(archive),
        control=call.control,
    ) as ready:
        yield ready
