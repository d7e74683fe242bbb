"""How a model and its adapter are named and opened for a run."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from outlast.cli.edge import TARGET, Session
from outlast.core.names import RunTarget, Target
from outlast.ops.run import Prepared
from outlast.ops.run_adapter import ReadyAdapter, prepare_adapter
from outlast.store.archive import Archive

any_base_option = click.option(
    "--any-base", is_flag=True, help="Run an adapter on another base than its own"
)


more_adapters_option = click.option(
    "--adapter",
    "more",
    multiple=True,
    type=TARGET,
    metavar="org/name",
    help="With --api: load this adapter too (repeatable); requests ask for org/base+org/name",
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


def all_targets(target: RunTarget, more: Sequence[Target]) -> list[Target]:
    """The adapters of a call, each once: that of `target` first."""
    first = [] if target.adapter is None else [target.adapter]
    return list(dict.fromkeys([*first, *more]))


@contextlib.contextmanager
def opened_adapters(
    call: Session,
    archive: Archive,
    targets: Sequence[Target],
    prepared: Prepared,
    options: Mapping[str, Any],
) -> Iterator[tuple[ReadyAdapter, ...]]:
    """The adapters that were asked for; of each its rules and claims are looked at."""
    with contextlib.ExitStack() as stack:
        yield tuple(
            stack.enter_context(
                prepare_adapter(
                    archive,
                    target,
                    prepared.revision,
                    any_base=options["any_base"],
                    budget=options["budget"],
                    assessor=lambda: call.assessor(archive),
                    control=call.control,
                )
            )
            for target in targets
        )
