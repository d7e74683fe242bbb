"""``outlast tune``."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from outlast.cli.edge import TARGET, Session, budget_option, common, session
from outlast.cli.screen.job_rate import duration
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import UsageError
from outlast.core.events import Loading
from outlast.core.names import Target
from outlast.core.printable import printable
from outlast.core.sizes import human_size
from outlast.features.tune.commands.documents import (
    HandedOverDocument,
    TunedDocument,
    TunePlanDocument,
)
from outlast.features.tune.handover.write import ENGINES, HandedOver, hand_over
from outlast.features.tune.options import ALL_LINEAR, TuneOptions
from outlast.features.tune.session import NAME
from outlast.features.tune.take import take
from outlast.features.tune.tune import Tuned, TunePlan, TuneWishes
from outlast.features.tune.tune import tune as train
from outlast.features.tune.tuning import TUNING


def _training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    default = TuneOptions()
    options = (
        click.option(
            "--rank",
            type=int,
            default=default.rank,
            show_default=True,
            help="Rank of the adapter: its size grows with it",
        ),
        click.option("--alpha", type=int, help="Weight of the adapter  [default: twice the rank]"),
        click.option(
            "--target",
            "targets",
            multiple=True,
            metavar="MODULE",
            help="Modules that get an adapter, as q_proj (repeatable)  "
            "[default: all linear layers]",
        ),
        click.option(
            "--dropout",
            type=float,
            default=default.dropout,
            show_default=True,
            help="Share of the adapter's inputs that are dropped while it learns",
        ),
        click.option(
            "--rate",
            type=float,
            default=default.rate,
            show_default=True,
            help="Highest learning rate",
        ),
        click.option(
            "--epochs",
            type=int,
            default=default.epochs,
            show_default=True,
            help="How often each row is learned from",
        ),
        click.option("--steps", type=int, help="So many steps, instead of --epochs"),
        click.option(
            "--batch", type=int, default=default.batch, show_default=True, help="Rows of a step"
        ),
        click.option(
            "--length",
            type=int,
            default=default.length,
            show_default=True,
            help="Most tokens of a row",
        ),
        click.option("--cut", is_flag=True, help="Cut longer rows at their ends"),
        click.option(
            "--held-out",
            type=float,
            default=default.held_out,
            show_default=True,
            help="Share of the rows that is only measured",
        ),
        click.option(
            "--seed",
            type=int,
            default=default.seed,
            show_default=True,
            help="The same seed gives the same bytes on the same machine",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    epilog="""\b
A row of FILE is a JSON object on a line, of one of three kinds:
  {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
  {"prompt": "…", "completion": "…"}
  {"text": "…"}

\b
Examples:
  outlast tune org/base --data facts.jsonl --out me/facts --dry-run
  outlast tune org/base --data facts.jsonl --out me/facts
  outlast run me/facts "What did you learn?"
  outlast tune org/base --take ./lora-out --out me/facts
  outlast tune org/base --data facts.jsonl --out me/facts --engine torchrun --to ./job

\b
Exit status:
  0 done · 2 usage, or rows that are wrong · 3 not archived · 4 damage found
  5 the same tuning is under way · 8 storage · 9 engine · 130 interrupted: it resumes
"""
)
@click.argument("base", type=TARGET)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The rows to learn from, as JSON lines",
)
@click.option(
    "--take",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Train nothing: archive the adapter that another program made in DIR",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="Train nothing: write what this program needs for it into the folder --to",
)
@click.option(
    "--to",
    "place",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --engine: an empty folder; --take of it archives the result",
)
@click.option(
    "--out",
    type=TARGET,
    metavar="org/name",
    required=True,
    help="Archive the adapter under this name",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check the data, measure a step, say what it takes; train nothing",
)
@_training_options
@click.option("--file", "wanted", metavar="GLOB", help="Choose the file, if the base has several")
@click.option(
    "--checkpoint",
    type=float,
    metavar="SECONDS",
    default=TUNING.checkpoint_seconds,
    show_default=True,
    help="Time between two checkpoints",
)
@click.option(
    "--device",
    metavar="NAME",
    help="Where to compute, as cpu or cuda  [default: the GPU, if there is one]",
)
@click.option("--threads", type=int, help="CPU threads  [default: all that there are]")
@budget_option
@click.option("--verbose", is_flag=True, help="Show the libraries' own log on stderr")
@common
def tune(
    base: Target,
    *,
    data: Path | None,
    folder: Path | None,
    engine: str | None,
    place: Path | None,
    out: Target,
    dry_run: bool,
    wanted: str | None,
    cut: bool,
    checkpoint: float,
    budget: int | None,
    verbose: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a LoRA adapter on BASE, on this machine, and archive it.

    The data is checked first; each row that is wrong is named by its line. A part of the rows is
    held out, and shows the loss before and after. A GGUF base is dequantised, and the record says
    so. Interrupted, or killed: the same command goes on from the last checkpoint, and makes the
    same bytes. The record of what the adapter was made from is a file of it, and 'show' draws it.

    With --take, the adapter is one that PEFT or a tool around it trained on BASE elsewhere. Its
    configuration then names BASE and its commit, and no folder; --data is noted as what it was
    trained on.

    With --engine, a larger training is handed over: the folder has the base's files as links, the
    rows, and a configuration for axolotl, or a script for torchrun or Ray. Run it where there are
    GPUs, and take the result back with --take of that folder: the record has the same entries.
    """
    if checkpoint < 0:
        raise UsageError("--checkpoint is a number of seconds")
    if (engine is None) != (place is None) or (engine is not None and folder is not None):
        raise UsageError("--engine and --to belong together, and --take is what comes after")
    chosen = _options(**options)
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        if folder is not None:
            done = take(archive, base, out, folder, data=data, control=call.control)
            _tell(call, base, done)
            return
        if data is None:
            raise UsageError("name the rows to learn from with --data, or a folder with --take")
        if engine is not None and place is not None:
            handed = hand_over(
                archive,
                base,
                out,
                engine=engine,
                data=data,
                folder=place,
                options=chosen,
                control=call.control,
            )
            _tell_handed(call, handed)
            return
        wishes = TuneWishes(
            dry_run=dry_run,
            wanted=wanted,
            cut=cut,
            every=checkpoint,
            budget=call.config.working_copies if budget is None else budget,
            log=(lambda line: print(printable(line), file=sys.stderr)) if verbose else None,
            loading=lambda seconds: call.control.emit(Loading(NAME, 0, seconds)),
        )
        done = train(
            archive, base, out, data=data, options=chosen, wishes=wishes, control=call.control
        )
        _tell(call, base, done)


def _options(
    *, alpha: int | None, device: str | None, threads: int | None, **given: Any
) -> TuneOptions:
    rank = given.pop("rank")
    targets = given.pop("targets") or (ALL_LINEAR,)
    return TuneOptions(
        rank=rank,
        alpha=2 * rank if alpha is None else alpha,
        targets=tuple(targets),
        device=device or ("cuda" if os.path.exists("/proc/driver/nvidia/version") else "cpu"),
        threads=len(os.sched_getaffinity(0)) if threads is None else threads,
        **given,
    )


def _tell_handed(call: Session, handed: HandedOver) -> None:
    if call.as_json:
        print_document(
            HandedOverDocument(
                folder=str(handed.folder),
                rows=handed.rows,
                held_out=handed.held_out,
                run=handed.run,
                take=handed.take,
            )
        )
        return
    call.say(f"{plural(handed.rows, 'row')} to learn from, {handed.held_out:,} held out")
    print(handed.run)
    print(handed.take)


def _tell(call: Session, base: Target, done: Tuned) -> None:
    plan = done.plan
    if done.record is None or done.added is None:
        if plan is not None:
            _tell_plan(call, base, plan)
        return
    revision, metrics = done.added.revision, done.record.metrics
    if call.as_json:
        print_document(
            TunedDocument(
                repo=revision.repo,
                revision=revision.id,
                manifest=done.added.manifest,
                base=done.record.base.repo,
                base_manifest=done.record.base.manifest,
                bytes=revision.size,
                steps=int(metrics.get("steps", 0)),
                before=_number(metrics.get("held_out_loss_before")),
                after=_number(metrics.get("held_out_loss_after")),
                loss=_number(metrics.get("loss")),
            )
        )
        return
    steps = f"{plural(plan.steps, 'step')}, " if plan is not None else ""
    call.say(f"{steps}{human_size(revision.size)}")
    before, after = metrics.get("held_out_loss_before"), metrics.get("held_out_loss_after")
    if isinstance(before, float) and isinstance(after, float):
        change = 100 * (after / before - 1) if before else 0.0
        call.say(f"held-out loss {before:.3f} → {after:.3f} ({change:+.0f} %)")
    print(f"{revision.repo}@{revision.id}")


def _tell_plan(call: Session, base: Target, plan: TunePlan) -> None:
    step = plan.step_seconds or 0.0
    seconds = (plan.load_seconds or 0.0) + plan.steps * step
    if call.as_json:
        print_document(
            TunePlanDocument(
                base=base.repo,
                rows=plan.rows,
                held_out=plan.held_out,
                repeated=plan.repeated,
                cut=plan.cut,
                tokens=plan.tokens,
                learned=plan.learned,
                longest=plan.longest,
                steps=plan.steps,
                trainable=plan.trainable,
                memory_bytes=plan.memory,
                free_memory_bytes=plan.free_memory,
                disk_bytes=plan.disk,
                step_seconds=step,
                seconds=seconds,
            )
        )
        return
    print(f"rows      {plan.rows:,} to learn from, {plan.held_out:,} held out")
    print(f"tokens    {plan.tokens:,}, {plan.learned:,} of them learned; longest {plan.longest:,}")
    print(f"steps     {plan.steps:,} of {step:.2f} s: about {duration(seconds)}")
    print(f"learned   {plan.trainable:,} numbers")
    free = f" ({human_size(plan.free_memory)} free)" if plan.free_memory else ""
    print(f"memory    about {human_size(plan.memory)}{free}")
    print(f"disk      about {human_size(plan.disk)}")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
