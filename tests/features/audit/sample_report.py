"""A report of an audit by log probabilities, made without a model."""

import json
import random
from typing import Any

from outlast.features.audit.evidence import Verdict, distances_of, explained, judge
from outlast.features.audit.reports.commitment import commitment
from outlast.features.audit.reports.document import REPORT_TYPE, AuditReport, report_of
from tests.features.audit.hostile_server import completion

SEED = "00ff"
WORDS = [chr(97 + n) for n in range(6)]
QUESTIONS, TOKENS = 5, 6


def sample_report(off: float = 0.0, *, answer: str = "", model: str = "m") -> AuditReport:
    """The endpoint's log probabilities are `off` nats from the reference's, beside a noise of .01;
    alternatives are off by .3. `answer` is what the endpoint says.
    """
    rng = random.Random(1)
    prompts = [f"question {n}" for n in range(QUESTIONS + 1)]
    exchanges, audited, distances = [], [], []
    for number, prompt in enumerate(prompts):
        own = [[[w.encode().hex(), -1.5 - n / 8] for n, w in enumerate(WORDS)]] * TOKENS
        tops: list[list[dict[str, Any]]] = [
            [{"token": w, "logprob": -1.5 - n / 8 - off - rng.random() / 50} for n, w in _rows()]
            for _ in range(TOKENS)
        ]
        tops = [sorted(top, key=lambda one: -one["logprob"]) for top in tops]
        request = {"messages": [{"role": "user", "content": prompt}], "model": model}
        exchanges.append(
            {
                "prompt": number,
                "request": json.dumps(request),
                "response": completion(answer or "a" * TOKENS, tops=tops).decode(),
                "seconds": 0.1 + number / 10,
            }
        )
        if number:
            positions = [{"at": at, "reference": row[:5]} for at, row in enumerate(own)]
            audited.append({"exchange": number, "positions": positions, "dropped": 1})
            served = [[[o["token"].encode().hex(), o["logprob"]] for o in top] for top in tops]
            rows = [{"reference": a[:5], "served": b} for a, b in zip(own, served, strict=True)]
            distances.append(distances_of("logprobs", rows))
    honest = {"bf16": [[rng.random() / 50 for _ in range(TOKENS)] for _ in range(20)]}
    others = {"int4": [[0.3 + rng.random() / 50 for _ in range(TOKENS)] for _ in range(8)]}
    candidates = {} if not off else {"own": distances, "int4": [[0.01] * TOKENS] * QUESTIONS}
    finding = explained(judge(distances, honest, others, 0.05), candidates, honest)
    return report_of(
        {
            "type": REPORT_TYPE,
            "endpoint": "http://127.0.0.1:1/v1",
            "model": model,
            "repo": "org/name",
            "revision": "0" * 40,
            "manifest": "1" * 64,
            "files": ["model.gguf"],
            "versions": {"outlast": "0.1.0"},
            "time": 1_790_000_000,
            "test": "logprobs",
            "alpha": 0.05,
            "seed": SEED,
            "prompts": prompts,
            "commitment": commitment(SEED, prompts),
            "tokens": TOKENS,
            "honest": ["bf16"],
            "alternatives": ["int4"],
            "calibration": {"honest": honest, "alternatives": others},
            "candidates": candidates,
            "exchanges": exchanges,
            "audited": audited,
            "ended": "",
            "requests": QUESTIONS + 1,
            "tokens_used": 100,
            "excluded": QUESTIONS,
            "finding": finding.to_json(),
        }
    )


def _rows() -> list[tuple[int, str]]:
    return list(enumerate(WORDS))


def changed(report: AuditReport, **more: Any) -> AuditReport:
    """The report with other values."""
    return report_of({**report.to_json(), **more})


__all__ = ["Verdict", "changed", "sample_report"]
