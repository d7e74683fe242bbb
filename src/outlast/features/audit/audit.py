"""One audit: finds out what an endpoint offers, asks, compares, and says what follows."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from outlast.core.errors import UsageError
from outlast.features.audit.asking.answers import ServedAnswer, UntestableError
from outlast.features.audit.asking.budget import AuditBudget, AuditBudgetEndedError
from outlast.features.audit.asking.endpoint import AuditedEndpoint, RefusedRequestError
from outlast.features.audit.asking.prompts import make_prompts
from outlast.features.audit.evidence import (
    GREEDY,
    LOGPROBS,
    SAMPLED,
    AuditFinding,
    Verdict,
    distances_of,
    explained,
    explained_sampled,
    judge,
    judge_sampled,
    score_of,
)
from outlast.features.audit.explaining import candidates
from outlast.features.audit.gathering import Gathered, Lengths, calibrate, gather, prompt_tokens
from outlast.features.audit.reference.reference import OWN, Reference
from outlast.features.audit.reports.commitment import commitment
from outlast.features.audit.reports.document import REPORT_TYPE
from outlast.features.audit.sampling import (
    MOST_SAMPLED,
    SampledText,
    compare_sampled,
    read_sampled,
)
from outlast.features.audit.statistics.logprobs import TOP
from outlast.features.audit.tuning import MOST_PROMPTS, MOST_TOKENS

_LISTED: Final = 20
"""Likeliest tokens that are asked for: OpenAI's API gives no more."""
_SAMPLED: Final = {"temperature": 1, "top_p": 1}
_GREEDY: Final = {"temperature": 0, "top_p": 1}
_UNCUT: Final = {**_SAMPLED, "top_k": 0, "min_p": 0}
"""Some servers sample from the likeliest tokens alone unless they are told not to."""
_WISHES: Final = {
    LOGPROBS: {**_SAMPLED, "logprobs": True, "top_logprobs": _LISTED},
    GREEDY: _GREEDY,
}
_CALIBRATION: Final = b"calibration"
_UNLIKELY: Final = 0.25
"""Nats of the mean margin. Guess: 4 bits instead of 16 come to a tenth of it."""
_LONG: Final = 8
"""Tokens of an answer that is not sampled twice by chance. A guess: at 1 bit each, one in 256."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """`prompts` are asked at most, for `tokens` each; `calibration` prompts give the threshold;
    `alpha`: the error rate. `seed` makes the prompts. `test` of None: the strongest that the
    endpoint allows. `afresh`: honest engines are tried on questions that follow from `seed`, too,
    and not on the same ones each time.
    """

    seed: bytes
    prompts: int = 6
    tokens: int = 12
    calibration: int = 16
    alpha: float = 0.05
    test: str | None = None
    afresh: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("prompts", 1, MOST_PROMPTS),
            ("tokens", 4, MOST_TOKENS),
            ("calibration", 4, MOST_PROMPTS),
        ):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"--{name} must lie between {low} and {high}")
        if self.test == SAMPLED and self.prompts * self.tokens > MOST_SAMPLED:
            raise UsageError(f"--test {SAMPLED} compares {MOST_SAMPLED:,} tokens at most")
        if not 0.0001 <= self.alpha <= 0.5:
            raise UsageError("--alpha must lie between 0.0001 and 0.5")


@dataclass(frozen=True, slots=True)
class _Offer:
    """The test that an endpoint allows, how long its lists of likeliest tokens are, and with which
    parameters it is asked; None for those of the test.
    """

    test: str
    listed: int = 0
    wishes: dict[str, Any] | None = None


class Audit:
    """Asks `endpoint` and compares with `reference`."""

    def __init__(
        self,
        endpoint: AuditedEndpoint,
        reference: Reference,
        budget: AuditBudget,
        options: AuditOptions,
        say: Callable[[str], object] = bool,
    ) -> None:
        self._endpoint = endpoint
        self._reference = reference
        self._budget = budget
        self._options = options
        self._say = say
        self._answers: set[tuple[str, tuple[float, ...]]] = set()
        self._audited: list[dict[str, Any]] = []
        self._texts: list[SampledText] = []
        self._scored: list[tuple[list[int], list[int], Any]] = []
        self._candidates: dict[str, list[list[float]]] = {}
        self._calibration: dict[str, Any] = {"honest": {}, "alternatives": {}}
        self._offer: _Offer | None = None
        self._ended = ""
        self._prompts = make_prompts(options.seed, options.prompts + 1)

    def run(self) -> tuple[AuditFinding, dict[str, Any]]:
        """The verdict, and the report without what only the caller knows: the time, the model's
        name. Raises :class:`~outlast.core.errors.EngineError`, :class:`Cancelled`.
        """
        self._say(f"commitment to the questions: {self._commitment()}")
        try:
            self._offer = self._probe(self._prompts[0])
            self._say(f"test: {self._offer.test}")
            self._ask_all(self._prompts[1:], self._offer)
            finding = self._judge(self._offer)
        except UntestableError as error:
            self._offer = None
            finding = AuditFinding(Verdict.UNTESTABLE, str(error))
        except AuditBudgetEndedError:
            self._offer = None
            finding = AuditFinding(
                Verdict.UNTESTABLE, "the budget does not suffice to find out anything"
            )
        return finding, self._report(finding)

    def _probe(self, prompt: str) -> _Offer:
        """The strongest test that the endpoint allows."""
        wanted = self._options.test
        if wanted == SAMPLED:
            return self._probe_sampled(prompt)
        if wanted != GREEDY:
            try:
                answer = self._ask(prompt, {**_SAMPLED, "logprobs": True, "top_logprobs": _LISTED})
            except RefusedRequestError as error:
                _log.info("no log probabilities: %s", error)
            else:
                listed = max((len(one.top) for one in answer.tokens or ()), default=0)
                if listed >= TOP:
                    return _Offer(LOGPROBS, listed)
            if wanted == LOGPROBS:
                raise UntestableError(f"the endpoint gives no lists of {TOP} likeliest tokens")
        return self._probe_greedy(prompt)

    def _probe_greedy(self, prompt: str) -> _Offer:
        """Greedy text, where it is the same again; else sampled text."""
        try:
            first = self._ask(prompt, _GREEDY)
            again = self._ask(prompt, _GREEDY)
        except RefusedRequestError as error:
            raise UntestableError(f"the endpoint refuses a plain question: {error}") from None
        if first.text != again.text and self._options.test is None:
            return self._probe_sampled(prompt)
        if first.text != again.text:
            raise UntestableError("the endpoint does not give the same text at temperature 0")
        sampled = [self._ask(prompt, _SAMPLED).text for _ in range(2)]
        if sampled == [first.text, first.text]:
            raise UntestableError(
                "a repeated question has the same answer at any temperature: cached, or ignored"
            )
        return _Offer(GREEDY)

    def _probe_sampled(self, prompt: str) -> _Offer:
        """Whether repeated questions are sampled anew, and by which parameters: of four answers two
        differ.
        """
        wishes: dict[str, Any] = _UNCUT
        try:
            answers = [self._ask(prompt, wishes).text]
        except RefusedRequestError as error:
            _log.info("no parameters beside temperature and top_p: %s", error)
            wishes, answers = _SAMPLED, []
        try:
            answers += [self._ask(prompt, wishes).text for _ in range(4 - len(answers))]
        except RefusedRequestError as error:
            raise UntestableError(f"the endpoint refuses a plain question: {error}") from None
        if len(set(answers)) == 1:
            raise UntestableError("a repeated question has the same answer: cached, or not sampled")
        return _Offer(SAMPLED, wishes=wishes)

    def _ask_all(self, prompts: Sequence[str], offer: _Offer) -> None:
        wishes = offer.wishes or _WISHES[offer.test]
        for number, prompt in enumerate(prompts, start=1):
            try:
                answer = self._ask(prompt, wishes)
            except AuditBudgetEndedError:
                self._ended = f"the budget ended after {number - 1} prompts"
                break
            except RefusedRequestError as error:
                raise UntestableError(f"the endpoint refuses a question: {error}") from None
            found = self._gather(offer.test, prompt, answer)
            self._refuse_replayed(offer.test, answer, found)
            if found.positions:
                asked = prompt_tokens(self._reference, prompt)
                self._scored.append((asked, list(found.tokens), found.positions))
            self._audited.append(
                {
                    "exchange": len(self._endpoint.exchanges.kept) - 1,
                    "positions": found.positions,
                    "dropped": found.dropped,
                }
            )
            self._say(f"asked {number} of {len(prompts)}")
        if not any(one["positions"] for one in self._audited) and not any(
            text.tokens for text in self._texts
        ):
            raise UntestableError("no answer could be compared with the reference's tokens")

    def _gather(self, test: str, prompt: str, answer: ServedAnswer) -> Gathered:
        most = self._options.tokens
        if test != SAMPLED:
            return gather(test, self._reference, prompt, answer, most)
        asked = prompt_tokens(self._reference, prompt)
        self._texts.append(read_sampled(self._reference, asked, answer.text, most))
        return Gathered([], 1)  # compared once all are here: each change is loaded once

    def _ask(self, prompt: str, wishes: dict[str, Any]) -> ServedAnswer:
        length = len(prompt_tokens(self._reference, prompt))
        return self._endpoint.ask(prompt, length, self._options.tokens, wishes)

    def _refuse_replayed(self, test: str, answer: ServedAnswer, found: Gathered) -> None:
        """A model may say the same to different questions, but not with the same probabilities;
        and it is not likely to, where the reference finds the answer unlikely.
        """
        if not answer.text:
            return
        logprobs = tuple(one.logprob for one in answer.tokens or ())
        known = (answer.text, logprobs) in self._answers
        self._answers.add((answer.text, logprobs))
        if test == GREEDY and known and found.positions:
            known = score_of(test, found.positions) > _UNLIKELY
        if test == SAMPLED:
            known = known and len(self._texts[-1].tokens) >= _LONG
        if known:
            raise UntestableError("the endpoint replays an answer to another question")

    def _judge(self, offer: _Offer) -> AuditFinding:
        options = self._options
        if offer.test == SAMPLED:
            return self._judge_sampled()
        model = hashlib.sha256(self._reference.build.encode()).digest()
        anew = options.seed if options.afresh else b""
        prompts = make_prompts(_CALIBRATION + model + anew, options.calibration)
        self._say("computing the reference")
        self._calibration = calibrate(
            offer.test, self._reference, prompts, Lengths(options.tokens, offer.listed)
        )
        distances = [
            distances_of(offer.test, one["positions"]) for one in self._audited if one["positions"]
        ]
        honest, others = self._calibration["honest"], self._calibration["alternatives"]
        finding = judge(distances, honest, others, options.alpha)
        if finding.verdict is Verdict.DIVERGENT:
            self._say("looking for what it is")
            self._candidates = candidates(offer.test, self._reference, self._scored)
        return explained(finding, self._candidates, honest)

    def _judge_sampled(self) -> AuditFinding:
        self._say("computing the reference")
        rows, self._calibration = compare_sampled(self._reference, self._texts)
        for one, text, positions in zip(self._audited, self._texts, rows, strict=True):
            one["positions"] = positions
            one["dropped"] += len(text.tokens) - len(positions)
        alpha = self._options.alpha
        finding = judge_sampled(rows, self._calibration["alternatives"], alpha)
        names = list(self._calibration["alternatives"])
        return explained_sampled(finding, rows, self._reference.honest, names)

    def _commitment(self) -> str:
        return commitment(self._options.seed.hex(), self._prompts)

    def _honest(self) -> list[str]:
        """The names of honest numerics; those of sampled text are in the order of positions."""
        sampled = self._offer is not None and self._offer.test == SAMPLED
        return [name for name in self._reference.honest if sampled or name != OWN]

    def _report(self, finding: AuditFinding) -> dict[str, Any]:
        options = self._options
        numbers = {prompt: number for number, prompt in enumerate(self._prompts)}
        return {
            "type": REPORT_TYPE,
            "endpoint": self._endpoint.url,
            "model": self._endpoint.model,
            "test": None if self._offer is None else self._offer.test,
            "alpha": options.alpha,
            "seed": options.seed.hex(),
            "prompts": self._prompts,
            "commitment": self._commitment(),
            "tokens": options.tokens,
            "honest": self._honest(),
            "alternatives": list(self._calibration["alternatives"]),
            "calibration": self._calibration,
            "candidates": self._candidates,
            "exchanges": [
                {
                    "prompt": numbers[one.prompt],
                    "request": one.request,
                    "response": one.response,
                    "seconds": one.seconds,
                }
                for one in self._endpoint.exchanges.kept
            ],
            "audited": [{**one, "positions": _unserved(one["positions"])} for one in self._audited],
            "ended": self._ended,
            "requests": self._budget.asked,
            "tokens_used": self._budget.used,
            "excluded": sum(one["dropped"] for one in self._audited),
            "finding": finding.to_json(),
        }


def _unserved(positions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Positions without what was served: that is in the exchanges."""
    return [{k: v for k, v in one.items() if k != "served"} for one in positions]
