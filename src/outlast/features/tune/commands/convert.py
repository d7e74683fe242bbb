"""``outlast convert``."""

import sys
from pathlib import Path

import click

from outlast.cli.edge import TARGET, budget_option, common, session
from outlast.cli.screen.render import print_document
from outlast.core.errors import UsageError
from outlast.core.names import RepoId, Target
from outlast.core.printable import printable
from outlast.core.sizes import human_size
from outlast.features.tune.commands.documents import ConvertedDocument
from outlast.features.tune.convert import FORMS, GgufWishes
from outlast.features.tune.convert import convert as convert_to_gguf


@click.command(
    epilog="""\b
Examples:
  outlast convert org/base --gguf --converter ~/llama.cpp
  outlast convert org/base --gguf --type q8_0 --out me/base-q8
  outlast convert me/facts --gguf --converter ~/llama.cpp
  outlast run org/base-gguf --api :8080 --adapter me/facts-gguf

\b
Exit status:
  0 done · 2 usage · 3 not archived · 4 damage found · 8 storage
  9 engine, or the converter is missing · 130 interrupted
"""
)
@click.argument("target", type=TARGET)
@click.option("--gguf", is_flag=True, help="Into GGUF, the format of llama.cpp")
@click.option(
    "--type",
    "form",
    type=click.Choice(FORMS),
    default=FORMS[0],
    show_default=True,
    help="Numbers of the result; auto: the 16-bit floats that the model has, f32 for adapters",
)
@click.option(
    "--out",
    type=TARGET,
    metavar="org/name",
    help="Archive the result under this name  [default: TARGET's, with -gguf]",
)
@click.option(
    "--converter",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A checkout of llama.cpp, whose scripts convert  [default: those that are installed]",
)
@budget_option
@click.option("--verbose", is_flag=True, help="Show the converter's log on stderr")
@common
def convert(
    target: Target,
    *,
    gguf: bool,
    form: str,
    out: Target | None,
    converter: Path | None,
    budget: int | None,
    verbose: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a model or an adapter in another format, and archive that with a record of it.

    llama.cpp's own scripts do it: convert_hf_to_gguf.py for models, convert_lora_to_gguf.py for
    adapters, whose base has to be archived too. They run without network, and load no code of the
    model's. An adapter in GGUF runs on the conversion of its base.
    """
    if not gguf:
        raise UsageError("name the format", hint="--gguf")
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        log = (lambda line: print(printable(line), file=sys.stderr)) if verbose else None
        room = call.config.working_copies if budget is None else budget
        wishes = GgufWishes(form, converter, room, log)
        done = convert_to_gguf(archive, target, out or _default(target), wishes, call.control)
    revision = done.added.revision
    if as_json:
        print_document(
            ConvertedDocument(
                repo=revision.repo,
                revision=revision.id,
                manifest=done.added.manifest,
                source=done.record.base.repo,
                adapter=done.adapter,
                bytes=revision.size,
            )
        )
        return
    call.say(f"{'an adapter' if done.adapter else 'a model'}, {human_size(revision.size)}")
    print(f"{revision.repo}@{revision.id}")


def _default(target: Target) -> Target:
    return Target(RepoId(target.repo.kind, f"{target.repo.name}-gguf"), None)
