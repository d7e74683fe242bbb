"""``outlast lineage``."""

import importlib.util
import math
from pathlib import Path

import click

from outlast.cli.edge import TARGET, common, session
from outlast.cli.screen.render import print_document
from outlast.core.errors import UsageError
from outlast.core.names import Target
from outlast.features.lineage.commands.documents import (
    LineageDocument,
    LineageEvidencePart,
    RelativePart,
)
from outlast.features.lineage.relative import LineageFound, Relative
from outlast.features.lineage.tuning import TUNING
from outlast.store import disk

INSTALL = "pip install '.[lineage]' in a checkout of outlast"


@click.command(
    epilog="""\b
Examples:
  outlast lineage someone/great-new-model
  outlast lineage someone/great-new-model Qwen/Qwen3-0.6B HuggingFaceTB/SmolLM2-135M
  outlast lineage someone/great-new-model --svg family.svg

\b
Exit status:
  0 done, whatever was found · 2 usage · 3 not archived · 4 damage found · 8 storage
  130 interrupted
"""
)
@click.argument("model", type=TARGET)
@click.argument("others", type=TARGET, nargs=-1)
@click.option(
    "--svg",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a picture of it to FILE too",
)
@common
def lineage(
    model: Target,
    others: tuple[Target, ...],
    *,
    picture: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find what MODEL was made from, and what was made from it: among OTHERS, or else among all
    models of the archive.

    Records count first, then the weights: equal tensors, weights that give the other's bytes when
    they are quantised again, and tests with a p-value, which find a relative although it was
    trained on, merged, quantised, pruned, or had its hidden units moved. What is none of these is
    said too. No code of a model is run.
    """
    if importlib.util.find_spec("numpy") is None:
        raise UsageError("lineage needs numpy", hint=INSTALL)
    from outlast.features.lineage.drawing import svg, text_lines  # noqa: PLC0415 - it needs numpy
    from outlast.features.lineage.lineage import find_lineage  # noqa: PLC0415 - likewise

    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        found = find_lineage(archive, model, others, control=call.control)
        if picture is not None:
            with disk.reporting(picture):
                picture.write_text(svg(found), encoding="utf-8")
    if as_json:
        _print(found)
        return
    for line in text_lines(found):
        print(line)


def _print(found: LineageFound) -> None:
    def part(one: Relative) -> RelativePart:
        return RelativePart(
            repo=one.repo,
            manifest=one.manifest,
            revision=one.commit,
            bond=one.bond,
            here=one.here,
            log10_p=_log10(one.log_p),
            evidence=[
                LineageEvidencePart(
                    kind=evidence.kind,
                    text=evidence.text,
                    log10_p=_log10(evidence.log_p),
                    value=evidence.value,
                )
                for evidence in one.evidence
            ],
        )

    print_document(
        LineageDocument(
            repo=found.repo,
            revision=found.commit,
            manifest=found.manifest,
            structure=found.structure,
            relatives=[part(one) for one in found.relatives],
            others=[part(one) for one in found.others],
            considered=found.considered,
            compared=found.compared,
            alpha=TUNING.alpha,
        )
    )


def _log10(log_p: float | None) -> float | None:
    return None if log_p is None else round(log_p / math.log(10.0), 3)
