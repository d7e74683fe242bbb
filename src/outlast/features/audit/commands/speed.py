"""``outlast audit speed``."""

import json
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_documents, print_table
from outlast.core.errors import UnreachableError, UsageError, one_line
from outlast.features.audit.asking.budget import AuditBudget, AuditBudgetEndedError
from outlast.features.audit.asking.prompts import make_prompts
from outlast.features.audit.commands.asking import bounds, endpoint_url, key_of
from outlast.features.audit.commands.documents import MeasuredSpeedDocument
from outlast.features.audit.reports.files import read_file, write_file
from outlast.features.audit.speed.figures import (
    MOST_FILE,
    SpeedFigures,
    Spread,
    as_vllm_bench,
    figures_of,
    read_figures,
)
from outlast.features.audit.speed.streams import StreamedAnswer, StreamingEndpoint
from outlast.sources.http import HttpClient

_MOST: Final = 10_000
_AT_ONCE: Final = 16
_LOOK: Final = 0.2
"""Seconds after which a person who wants it to end is heard."""
_TEMPLATE: Final = 64
"""Tokens that a template adds at most. A guess: what the budget reserves beside the question."""


@click.command(
    epilog="""\b
Examples:
  outlast audit speed https://api.example/v1 --model m --key-env API_KEY
  outlast audit speed URL --model m --concurrency 8 --beside result-of-vllm-bench.json

\b
Exit status:
  0 ok · 2 usage · 3 no such file · 4 no result of a known tool · 5 no answer came whole ·
  8 storage · 130 interrupted
"""
)
@click.argument("url")
@click.option("--model", required=True, metavar="NAME", help="The model's name at the endpoint")
@click.option(
    "--requests",
    "count",
    type=click.IntRange(1, _MOST),
    default=16,
    show_default=True,
    help="Questions to ask",
)
@click.option(
    "--tokens",
    type=click.IntRange(2, 4096),
    default=64,
    show_default=True,
    help="Tokens of an answer, at most",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, _AT_ONCE),
    default=1,
    show_default=True,
    help="Requests under way at once",
)
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the figures to FILE, as 'vllm bench serve' does",
)
@click.option(
    "--beside",
    "others",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Show the result of vllm bench, AIPerf or GuideLLM beside it (repeatable)",
)
@bounds
@common
def speed(
    url: str,
    *,
    model: str,
    count: int,
    tokens: int,
    concurrency: int,
    write: Path | None,
    others: tuple[Path, ...],
    max_requests: int | None,
    max_tokens: int | None,
    max_cost: float | None,
    price: tuple[float, float] | None,
    key_env: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Measure how fast the endpoint at URL (up to /v1) answers, from its streams.

    Each question is new, so that no answer is kept from before. Times are those at which chunks of
    text arrive here, the network included. Requests that fail or are refused (429) are counted.
    """
    where, key = endpoint_url(url), key_of(key_env)
    if max_cost is not None and price is None:
        raise UsageError("--max-cost needs --price")
    spend = AuditBudget(max_requests, max_tokens, max_cost, price or (0.0, 0.0))
    with session(home, as_json=as_json, quiet=quiet) as call:
        beside = [read_figures(path.name, read_file(path, MOST_FILE)) for path in others]
        questions = _affordable(make_prompts(secrets.token_bytes(16), count), tokens, spend)
        if len(questions) < count:
            call.say(f"the budget suffices for {len(questions)} of {count} requests")
        with HttpClient(call.config.http()) as http:
            endpoint = StreamingEndpoint(http, where, model, key)
            answers, seconds = _measured(call, endpoint, questions, tokens, concurrency)
        figures = figures_of("measured", answers, seconds)
        if not figures.completed:
            raise UnreachableError(f"no answer came whole: {_reasons(figures) or 'none was asked'}")
        if write is not None:
            found = as_vllm_bench(model, answers, seconds, concurrency)
            write_file(write, json.dumps(found, indent=1).encode())
        _show(call, [figures, *beside])
    return 0


def _affordable(questions: Sequence[str], tokens: int, spend: AuditBudget) -> list[str]:
    """As many as the budget suffices for. No tokenizer makes more tokens than there are bytes."""
    found = []
    for question in questions:
        try:
            spend.take(len(question.encode()) + _TEMPLATE, tokens)
        except AuditBudgetEndedError:
            break
        found.append(question)
    return found


def _measured(
    call: Session,
    endpoint: StreamingEndpoint,
    questions: Sequence[str],
    tokens: int,
    concurrency: int,
) -> tuple[list[StreamedAnswer], float]:
    """The answers in the order of the questions, and the seconds that all took."""
    began = time.monotonic()
    answers: list[StreamedAnswer] = []
    with ThreadPoolExecutor(concurrency, thread_name_prefix="ask") as pool:
        asked = [pool.submit(endpoint.ask, question, tokens) for question in questions]
        try:
            for one in asked:
                while not wait([one], _LOOK).done:
                    call.control.cancel.check()
                answers.append(one.result())
                call.say(f"answered {len(answers)} of {len(questions)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            endpoint.http.close()  # streams end with their connections
            raise
    return answers, time.monotonic() - began


def _show(call: Session, rows: Sequence[SpeedFigures]) -> None:
    if call.as_json:
        print_documents([_document(row) for row in rows])
        return
    table = [["", "FIRST TOKEN", "P99", "NEXT ONES", "P99", "WHOLE", "P99", "TOKENS/S", "ANSWERS"]]
    for row in rows:
        times = [text for one in (row.first, row.between, row.whole) for text in _texts(one)]
        rate = "-" if row.tokens_per_second is None else f"{row.tokens_per_second:.1f}"
        failed = sum(row.failures.values())
        said = f"{row.completed} of {row.completed + failed}" if failed else str(row.completed)
        table.append([one_line(row.source), *times, rate, said])
    print_table(table, right=tuple(range(1, 9)))
    if rows[0].failures:
        print(f"failed: {_reasons(rows[0])}")


def _reasons(row: SpeedFigures) -> str:
    return ", ".join(f"{why} ({plural(number, 'time')})" for why, number in row.failures.items())


def _texts(one: Spread | None) -> tuple[str, str]:
    if one is None:
        return "-", "-"
    return _milliseconds(one.median), "-" if one.p99 is None else _milliseconds(one.p99)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def _document(row: SpeedFigures) -> MeasuredSpeedDocument:
    first, between, whole = row.first, row.between, row.whole
    return MeasuredSpeedDocument(
        source=row.source,
        completed=row.completed,
        first=None if first is None else first.median,
        first_p99=None if first is None else first.p99,
        between=None if between is None else between.median,
        between_p99=None if between is None else between.p99,
        whole=None if whole is None else whole.median,
        whole_p99=None if whole is None else whole.p99,
        tokens_per_second=row.tokens_per_second,
        seconds=row.seconds,
        failures=row.failures,
    )
