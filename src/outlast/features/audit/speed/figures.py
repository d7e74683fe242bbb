"""What streamed answers come to, and the same figures as other tools write them."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev
from typing import Any, Final

from outlast.core.errors import MalformedError
from outlast.features.audit.speed.streams import StreamedAnswer

MOST_FILE: Final = 64 << 20
"""Bytes of a file of another tool. Guess: vllm's has each answer's text and times."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a time, in seconds: its median and its 99th percentile. Not all files tell the latter."""

    median: float
    p99: float | None


@dataclass(frozen=True, slots=True)
class SpeedFigures:
    """`first`: until the first chunk of text; `between`: of a token after the first one, the mean
    of its answer (several chunks may arrive at once); `whole`: until the end. `tokens_per_second`:
    of all answers together, over the `seconds` that they took. `failures` by reason. None for what
    is not known.
    """

    source: str
    completed: int
    first: Spread | None
    between: Spread | None
    whole: Spread | None
    tokens_per_second: float | None
    seconds: float | None
    failures: Mapping[str, int]


def figures_of(source: str, answers: Sequence[StreamedAnswer], seconds: float) -> SpeedFigures:
    """Those of the whole answers among these. Where an endpoint does not tell its tokens, chunks
    count as one each.
    """
    whole = [one for one in answers if not one.failure]
    tokens = sum(map(length, whole))
    return SpeedFigures(
        source=source,
        completed=len(whole),
        first=_spread([one.chunks[0] for one in whole]),
        between=_spread(later(whole)),
        whole=_spread([one.ended for one in whole]),
        tokens_per_second=tokens / seconds if whole and seconds > 0 else None,
        seconds=seconds,
        failures=dict(Counter(one.failure for one in answers if one.failure)),
    )


def length(answer: StreamedAnswer) -> int:
    """Its tokens."""
    return len(answer.chunks) if answer.tokens is None else answer.tokens


def later(answers: Sequence[StreamedAnswer]) -> list[float]:
    """The mean seconds of a token after the first one, of each answer that has one."""
    return [(one.ended - one.chunks[0]) / (length(one) - 1) for one in answers if length(one) > 1]


def gaps(answer: StreamedAnswer) -> list[float]:
    """The seconds between its chunks."""
    return [b - a for a, b in zip(answer.chunks, answer.chunks[1:], strict=False)]


def percentile(values: Sequence[float], share: float) -> float:
    """By linear interpolation, as numpy's default has it. `values` are not empty."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def as_vllm_bench(
    model: str, answers: Sequence[StreamedAnswer], seconds: float, concurrency: int
) -> dict[str, Any]:
    """As ``vllm bench serve`` writes its result: times in milliseconds."""
    whole = [one for one in answers if not one.failure]
    tokens = [length(one) for one in whole]
    prompts = [one.prompt or 0 for one in whole]
    times = {
        "ttft": [one.chunks[0] for one in whole],
        "tpot": later(whole),
        "itl": [gap for one in whole for gap in gaps(one)],
        "e2el": [one.ended for one in whole],
    }
    found: dict[str, Any] = {
        "backend": "openai-chat",
        "model_id": model,
        "num_prompts": len(answers),
        "max_concurrency": concurrency,
        "duration": seconds,
        "completed": len(whole),
        "total_input_tokens": sum(prompts),
        "total_output_tokens": sum(tokens),
        "request_throughput": len(whole) / seconds,
        "output_throughput": sum(tokens) / seconds,
        "total_token_throughput": (sum(tokens) + sum(prompts)) / seconds,
    }
    for name, values in times.items():
        found |= {
            f"mean_{name}_ms": 1e3 * fmean(values) if values else 0.0,
            f"median_{name}_ms": 1e3 * median(values) if values else 0.0,
            f"std_{name}_ms": 1e3 * pstdev(values) if values else 0.0,
            f"p99_{name}_ms": 1e3 * percentile(values, 0.99) if values else 0.0,
        }
    return found


def read_figures(source: str, data: bytes) -> SpeedFigures:
    """The figures of a file that ``vllm bench serve``, AIPerf or GuideLLM wrote (of the latter: of
    its first benchmark). Raises :class:`MalformedError`.
    """
    try:
        found = json.loads(data, parse_constant=_no_number)
        for read in (_from_vllm, _from_aiperf, _from_guidellm):
            if (figures := read(source, found)) is not None:
                return figures
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    raise MalformedError(
        f"no result of 'vllm bench serve', AIPerf or GuideLLM: {source}",
        hint="give the JSON that the tool wrote",
    )


def _from_vllm(source: str, found: Mapping[str, Any]) -> SpeedFigures | None:
    if "median_ttft_ms" not in found:
        return None
    failed = int(_number(found.get("num_prompts"), found["completed"])) - int(found["completed"])
    return SpeedFigures(
        source=source,
        completed=int(found["completed"]),
        first=_from_ms(found.get("median_ttft_ms"), found.get("p99_ttft_ms")),
        between=_from_ms(found.get("median_tpot_ms"), found.get("p99_tpot_ms")),
        whole=_from_ms(found.get("median_e2el_ms"), found.get("p99_e2el_ms")),
        tokens_per_second=_maybe(found.get("output_throughput")),
        seconds=_maybe(found.get("duration")),
        failures={"not completed": failed} if failed > 0 else {},
    )


def _from_aiperf(source: str, found: Mapping[str, Any]) -> SpeedFigures | None:
    if "time_to_first_token" not in found or "request_count" not in found:
        return None

    def spread(name: str) -> Spread | None:
        one = found.get(name) or {}
        return _from_ms(one.get("p50", one.get("avg")), one.get("p99"))

    failed = sum(int(one["count"]) for one in found.get("error_summary") or ())
    return SpeedFigures(
        source=source,
        completed=int(found["request_count"]["avg"]),
        first=spread("time_to_first_token"),
        between=spread("inter_token_latency"),
        whole=spread("request_latency"),
        tokens_per_second=_maybe((found.get("output_token_throughput") or {}).get("avg")),
        seconds=_maybe((found.get("benchmark_duration") or {}).get("avg")),
        failures={"errors": failed} if failed else {},
    )


def _from_guidellm(source: str, found: Mapping[str, Any]) -> SpeedFigures | None:
    if "benchmarks" not in found:
        return None
    metrics = found["benchmarks"][0]["metrics"]

    def values(name: str) -> Mapping[str, Any]:
        one = (metrics.get(name) or {}).get("successful") or {}
        return {**one, **(one.get("percentiles") or {})}

    def spread(name: str, unit: float = 1.0) -> Spread | None:
        one = values(name)
        half = one.get("median", one.get("p50"))
        return _from_ms(half, one.get("p99"), unit)

    counts = metrics.get("request_totals") or {}
    failed = int(counts.get("errored") or 0)
    return SpeedFigures(
        source=source,
        completed=int(counts.get("successful") or 0),
        first=spread("time_to_first_token_ms"),
        between=spread("inter_token_latency_ms"),
        whole=spread("request_latency", 1e3),  # in seconds there
        tokens_per_second=_maybe(values("output_tokens_per_second").get("mean")),
        seconds=None,
        failures={"errors": failed} if failed else {},
    )


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), percentile(values, 0.99)) if values else None


def _from_ms(half: object, p99: object, unit: float = 1.0) -> Spread | None:
    if half is None:
        return None
    last = _maybe(p99)
    return Spread(_number(half) * unit / 1e3, None if last is None else last * unit / 1e3)


def _maybe(said: object) -> float | None:
    return None if said is None else _number(said)


def _number(said: object, default: object = None) -> float:
    found = default if said is None else said
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e12:
        raise ValueError
    return float(found)


def _no_number(said: str) -> float:
    raise ValueError(said)
