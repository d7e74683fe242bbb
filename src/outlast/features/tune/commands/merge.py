"""``outlast merge``."""

import sys

import click

from outlast.cli.edge import TARGET, budget_option, common, session
from outlast.cli.options.adapter import RUN_TARGET, any_base_option
from outlast.cli.screen.render import print_document
from outlast.core.names import RepoId, RunTarget, Target
from outlast.core.printable import printable
from outlast.core.sizes import human_size
from outlast.features.tune.commands.documents import MergedDocument
from outlast.features.tune.merge import merge as merge_adapter


@click.command(
    epilog="""\b
Examples:
  outlast merge me/facts
  outlast merge me/facts --out me/base-with-facts
  outlast merge org/base@v2+me/facts --any-base

\b
Exit status:
  0 done · 2 usage · 3 not archived · 4 damage found · 8 storage · 9 engine · 130 interrupted
"""
)
@click.argument("adapter", type=RUN_TARGET)
@click.option(
    "--out",
    type=TARGET,
    metavar="org/name",
    help="Archive the model under this name  [default: the adapter's, with -merged]",
)
@any_base_option
@budget_option
@click.option("--verbose", is_flag=True, help="Show the libraries' own log on stderr")
@common
def merge(
    adapter: RunTarget,
    *,
    out: Target | None,
    any_base: bool,
    budget: int | None,
    verbose: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Add ADAPTER into the weights of its base, and archive the result as a model of its own.

    The base is found by the adapter's record, or named: org/base+org/adapter. Of its files only
    the weights that the adapter changes are different, so the archive keeps them as deltas against
    the base where that is smaller. A GGUF base is dequantised to bf16 first.
    """
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        done = merge_adapter(
            archive,
            adapter,
            out or _default(adapter),
            any_base=any_base,
            budget=call.config.working_copies if budget is None else budget,
            control=call.control,
            log=(lambda line: print(printable(line), file=sys.stderr)) if verbose else None,
        )
    added, revision = done.added, done.added.revision
    if as_json:
        print_document(
            MergedDocument(
                repo=revision.repo,
                revision=revision.id,
                manifest=added.manifest,
                base=done.record.base.repo,
                adapter=done.record.ancestors[1].repo,
                bytes=revision.size,
                stored_bytes=added.held,
                adapter_bytes=done.adapter_bytes,
            )
        )
        return
    call.say(f"{human_size(revision.size)}, stored in {human_size(added.held)}")
    print(f"{revision.repo}@{revision.id}")


def _default(adapter: RunTarget) -> Target:
    repo = (adapter.adapter or adapter.model).repo
    return Target(RepoId(repo.kind, f"{repo.name}-merged"), None)
