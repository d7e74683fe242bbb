"""One request on its way, and one try of one server for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from outlast.features.gateway.accounts.values import Estimate, Spent
from outlast.features.gateway.routes.values import GatewayRoute
from outlast.features.gateway.seams import (
    Accounts,
    Continue,
    Dialect,
    Json,
    KnownCaller,
    Prices,
    StreamJudge,
    Understood,
)
from outlast.features.gateway.serving.fleet import Fleet, Server, ServerPlan
from outlast.features.gateway.serving.metrics import GatewayMetrics
from outlast.features.gateway.serving.note import AnswerNote
from outlast.features.gateway.serving.tracing import RequestTracer, Traced
from outlast.features.gateway.upstream.asking import Body
from outlast.features.gateway.upstream.clock import CallerLeft, Clock
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.features.gateway.upstream.key_record import KeyRecord

_UNSAID: Final = 4096
"""Tokens of an answer that a request does not bound, for the estimate of its cost. Guess."""
_TEMPLATE: Final = 64
"""Tokens that a chat template adds. Guess."""
_MOST_TOKENS: Final = 1_000_000_000


class Failed(Exception):  # noqa: N818 - an answer
    """No target answers a request: `status` and a sentence for the caller; `error` is that of the
    target where the fault is the caller's own. `retry_after` in seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error: Json | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.error, self.retry_after = status, error or {}, retry_after


@dataclass(frozen=True, slots=True)
class Desk:
    """What all requests share. `keeps`: writes down in the background that a key worked."""

    fleet: Fleet
    accounts: Accounts
    prices: Prices
    metrics: GatewayMetrics
    record: KeyRecord
    judge: Callable[[Any, bool], StreamJudge]
    continued: Continue
    keeps: Callable[[], object]
    tracer: Callable[[], RequestTracer | None] = lambda: None


@dataclass(slots=True)
class CallerJob:
    """A request as understood. `kind` is a key of `upstream.asking.PATHS`; `size` are the bytes of
    its body; `substitutes`: another target than the choice may answer.
    """

    request: web.Request
    dialect: Dialect
    kind: str
    asked: Understood
    route: GatewayRoute
    caller: KnownCaller
    size: int
    plan: ServerPlan
    substitutes: bool
    note: AnswerNote = field(init=False)
    first: float | None = None
    """Seconds until the first part of an answer."""
    tokens: tuple[int, int] | None = None
    """Of the prompt and of the answer, over all tries."""
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        choice = self.plan.wanted[0].name if self.plan.wanted else ""
        self.note = AnswerNote(self.route.name, choice)

    def may_ask(self, server: Server) -> bool:
        """Whether the caller takes an answer of this target."""
        return self.substitutes or server.target.name == self.note.choice

    def passes(self, server: Server, fault: Fault) -> None:
        """Notes that the request goes on to the next server."""
        self.faults.append((server.target.name, fault))
        self.note.skipped(server.target.name, str(fault.kind))

    def answers(self, server: Server) -> None:
        """This one answers. Notes why those before it were not even asked."""
        self.note.server = server
        if server.target.name == self.note.choice:
            return
        said = {name for name, _ in self.note.passed}
        for target in self.plan.wanted:
            if target.name == server.target.name:
                break
            if target.name not in said:
                others = (s.standing.why_not for s in self.plan.others if s.target is target)
                kind = next((why for why in others if why), "not asked")
                self.note.skipped(target.name, kind)

    def caller_left(self) -> bool:
        transport = self.request.transport
        return transport is None or transport.is_closing()

    def body_for(self, server: Server) -> Json:
        """The body that a target gets: its own name of the model, and usage asked for."""
        body: Json = {**self.asked.chat, "model": server.target.model}
        if self.kind == "embeddings":
            return body
        endpoint = server.target.endpoint
        if self.asked.stream:
            body["stream"] = True
        if self.asked.stream and (endpoint is None or endpoint.counts):
            options = body.get("stream_options")
            known = options if isinstance(options, dict) else {}
            body["stream_options"] = {**known, "include_usage": True}
        else:
            body.pop("stream_options", None)
        return body

    def estimate(self, server: Server, prices: Prices) -> Estimate:
        """The most that this request takes at a target: a token has at least one byte."""
        chat = self.asked.chat
        prompt, answer = self.size + _TEMPLATE, 0
        if self.kind != "embeddings":
            said = _count(chat.get("max_completion_tokens")) or _count(chat.get("max_tokens"))
            answer = (said or _UNSAID) * max(1, _count(chat.get("n")))
        target = server.target
        return Estimate(prompt, answer, prices.money(target.provider, target.model, prompt, answer))

    def traced(self, status: int) -> Traced:
        """What a trace has of it once it has ended."""
        took = time.monotonic() - self.began
        target = None if self.note.server is None else self.note.server.target
        prompt, answer = self.tokens or (None, None)
        return Traced(
            self.route.name,
            self.kind,
            self.asked.stream,
            status,
            time.time() - took,
            took,
            self.first,
            "" if target is None else target.name,
            "" if target is None else target.model,
            "" if target is None else target.provider,
            self.note.choice if self.note.substituted else "",
            tuple(self.note.passed),
            len(self.note.continued),
            prompt,
            answer,
        )

    def failed(self) -> Failed:
        """What the caller hears when no server is left."""
        if not self.faults:
            text = f"no target of {self.route.name!r} may be asked now"
            return Failed(503, text, retry_after=self._patience())
        said = ", ".join(f"{name}: {fault.kind}" for name, fault in self.faults)
        text = f"no target of {self.route.name!r} answers ({said})"
        kinds = {fault.kind for _, fault in self.faults}
        if kinds <= {FaultKind.LIMITED, FaultKind.SPENT}:
            return Failed(429, text, retry_after=self._patience())
        return Failed(503 if FaultKind.UNREACHABLE in kinds else 502, text)

    def _patience(self) -> float | None:
        waits = [fault.retry_after for _, fault in self.faults]
        waits += [s.standing.fault.retry_after for s in self.plan.others if s.standing.fault]
        return min((wait for wait in waits if wait is not None), default=None)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _MOST_TOKENS:
        return 0
    return value


class Try:
    """One server is asked for one job: its reservation, its clock, its standing. Used as a context:
    at its end what was spent is settled, whatever happened.
    """

    def __init__(self, desk: Desk, job: CallerJob, server: Server) -> None:
        """Raises :class:`~outlast.features.gateway.seams.BudgetSpent`."""
        self._desk, self._job, self.server = desk, job, server
        target = server.target
        self._reserved = desk.accounts.reserve(
            job.caller, job.route.name, target.model, job.estimate(server, desk.prices)
        )
        self.clock = Clock(job.caller_left, job.route.clocks.whole)
        self._late = time.monotonic() - job.began
        """Seconds that tries before this one took."""
        self._body: Body | None = None
        self._asked = False
        self._first: float | None = None
        self._last = 0.0
        self._chunks = 0
        self._used: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        self.server.standing.under_way += 1
        self.server.standing.kind = self._job.kind
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.standing.under_way -= 1
        self.clock.stop()
        if self._body is not None:
            self._body.close()
        self._settle()

    async def open(self, body: Json) -> Body:
        """Asks. Raises :class:`Fault`."""
        clocks = self._job.route.clocks
        stream = body.get("stream") is True
        if stream:
            seconds, what = clocks.first_token, "token"
        elif self.server.target.local is not None:  # whether our own engine lives is known
            seconds, what = clocks.whole, "answer"
        else:
            seconds, what = clocks.first_byte, "answer"
        self.clock.limit(seconds, FaultKind.SLOW, f"no {what} came in {seconds:g} s")
        self._body = await self.server.backend.ask(self._job.kind, body, self.clock, clocks.connect)
        self._asked = True
        return self._body

    def token(self) -> None:
        """A part of the answer came."""
        self._last = self.clock.elapsed
        if self._first is None:
            self._first = self._last
            if self._job.first is None:
                self._job.first = self._late + self._first
        self._chunks += 1

    def awaits_next(self) -> None:
        """The next part has its time from now."""
        if self._first is not None:
            self.awaits_bytes()

    def awaits_bytes(self) -> None:
        """Bytes came of an answer that has begun; the next ones have their time from now."""
        stall = self._job.route.clocks.stall
        self.clock.limit(stall, FaultKind.STALLED, f"nothing came for {stall:g} s")

    @property
    def first(self) -> float | None:
        """Seconds until the first part of the answer."""
        return self._first

    @property
    def chunks(self) -> int:
        return self._chunks

    def used(self, usage: Any, answered: int) -> None:
        """The tokens as the target says them, else `answered` and the prompt as estimated."""
        said = usage if isinstance(usage, dict) else {}
        prompt = said.get("prompt_tokens")
        answer = said.get("completion_tokens")
        known = isinstance(prompt, int) and 0 <= prompt < _MOST_TOKENS
        counts = isinstance(answer, int) and 0 <= answer < _MOST_TOKENS
        guess = self._job.size // 4 + 1
        self._used = (
            int(prompt) if known and isinstance(prompt, int) else guess,
            int(answer) if counts and isinstance(answer, int) else answered,
        )

    def succeeded(self) -> None:
        """The answer is whole."""
        self.server.standing.succeeded(self._first)
        self.worked()
        names = (self._job.route.name, self.server.target.name)
        metrics = self._desk.metrics
        metrics.requests.labels(*names).inc()
        if self._first is not None:
            metrics.first_token.labels(*names).observe(self._first)
            if self._chunks > 1:
                mean = (self._last - self._first) / (self._chunks - 1)
                metrics.between.labels(*names).observe(mean)
        if self._job.note.substituted:
            metrics.substituted.labels(*names).inc()

    def worked(self) -> None:
        """The endpoint took its key."""
        endpoint = self.server.target.endpoint
        if endpoint is not None and self._desk.record.note(endpoint):
            self._desk.keeps()

    def failed(self, fault: Fault) -> None:
        """Raises :class:`CallerLeft` where it is the caller who ended it."""
        if self.clock.left or self._job.caller_left():
            raise CallerLeft
        if self._asked:
            self.worked()
        self.server.standing.failed(fault)
        if not fault.is_callers:
            names = (self._job.route.name, self.server.target.name)
            self._desk.metrics.faults.labels(*names, fault.kind).inc()

    def _settle(self) -> None:
        """What a target was asked for and did not count is settled by what came of it."""
        if self._used is None and self._chunks:
            self.used(None, self._chunks)
        if self._used is None:
            self._desk.accounts.release(self._reserved)
            return
        prompt, answer = self._used
        before = self._job.tokens or (0, 0)
        self._job.tokens = before[0] + prompt, before[1] + answer
        target, names = self.server.target, (self._job.route.name, self.server.target.name)
        money = self._desk.prices.money(target.provider, target.model, prompt, answer)
        self._desk.metrics.tokens.labels(*names, "prompt").inc(prompt)
        self._desk.metrics.tokens.labels(*names, "completion").inc(answer)
        if money is not None:
            self._desk.metrics.money.labels(*names).inc(money / 1e9)
        spent = Spent(
            target.name,
            target.provider,
            target.model,
            target.jurisdiction,
            prompt,
            answer,
            money,
            self.clock.elapsed,
        )
        self._desk.accounts.settle(self._reserved, spent)
