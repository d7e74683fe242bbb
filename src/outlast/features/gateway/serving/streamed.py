"""Streamed answers: nothing reaches the caller before a target has said something, so that others
can answer in its place; and where a stream breaks later, another one goes on from the text.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from aiohttp import web

from outlast.features.gateway.seams import BrokenStream, BudgetSpent, Json, StreamJudge
from outlast.features.gateway.serving.anomalies import (
    answers_of,
    says_beside_text,
    says_something,
    text_of,
    unsound_end,
)
from outlast.features.gateway.serving.fleet import Server
from outlast.features.gateway.serving.job import CallerJob, Desk, Try
from outlast.features.gateway.serving.whole import over_budget, refused
from outlast.features.gateway.upstream.asking import Body
from outlast.features.gateway.upstream.clock import CallerLeft
from outlast.features.gateway.upstream.faults import (
    Fault,
    FaultKind,
    error_in_stream,
    fault_of_stream,
)

_HELD: Final = 256 * 1024
"""Bytes that are held while a target has said nothing yet. Guess."""


async def answer_streamed(desk: Desk, job: CallerJob) -> web.StreamResponse:
    """Raises :class:`~outlast.features.gateway.serving.job.Failed` and :class:`CallerLeft`; once
    the answer has begun, what fails is an event of it.
    """
    out = _Outgoing(job)
    spent: BudgetSpent | None = None
    for server in job.plan.servers():
        if not job.may_ask(server) or (out.begun and not _goes_on(job, server)):
            continue
        try:
            with Try(desk, job, server) as one:
                judge = desk.judge(job.kind, server.target.speaks_messages)
                try:
                    await _pass(one, judge, out, await one.open(_body(desk, job, server, out)))
                except (Fault, BrokenStream) as error:
                    fault = _as_fault(error)
                    one.failed(fault)
                    job.passes(server, fault)
                    if fault.is_callers and not out.begun:
                        raise refused(fault) from None
                    if out.begun and not out.goes_on_after(one, judge, fault):
                        break
                    continue
                one.succeeded()
                if out.continues:
                    desk.metrics.continued.labels(job.route.name, server.target.name).inc()
                return await out.end()
        except BudgetSpent as error:
            spent = error
            job.note.skipped(server.target.name, "budget")
    if out.begun:
        desk.metrics.broken.labels(job.route.name).inc()
        return await out.error(out.stops or str(job.failed()))
    raise over_budget(spent) if spent is not None and not job.faults else job.failed()


def _as_fault(error: Fault | BrokenStream) -> Fault:
    return error if isinstance(error, Fault) else fault_of_stream(error)


def _goes_on(job: CallerJob, server: Server) -> bool:
    """Whether a target can go on from a text."""
    return job.kind == "completions" or server.target.continues is not None


def _body(desk: Desk, job: CallerJob, server: Server, out: "_Outgoing") -> Json:
    """The request for a target: the caller's, or what is left of it."""
    body = job.body_for(server)
    if not out.begun:
        return body
    how = "completion" if job.kind == "completions" else server.target.continues
    assert how is not None
    body = desk.continued(body, out.text, how)
    for key in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(key), int):
            body[key] = max(1, body[key] - out.tokens)
    return body


async def _pass(one: Try, judge: StreamJudge, out: "_Outgoing", body: Body) -> None:
    """One target's stream, to its end. Raises :class:`Fault` and :class:`BrokenStream`."""
    endpoint = one.server.target.endpoint
    key = endpoint.key.encode() if endpoint is not None and endpoint.key is not None else None
    out.opens(one.server)
    try:
        while not judge.done and (data := await body.piece()):
            await out.passes(_chunks(judge, data, key), one)
            one.awaits_next()
    except (Fault, BrokenStream):
        # Where the text is whole, what is missing would have counted it.
        if not out.finished or one.clock.left:
            raise
    finally:
        if one.chunks or out.finished:
            one.used(judge.usage, one.chunks)
    if not out.finished:
        raise Fault(FaultKind.CUT, "the answer ends without a finish_reason")
    await out.write(bytearray(), said=True)


def _chunks(judge: StreamJudge, data: bytes, key: bytes | None) -> Iterator[Json]:
    """Those that are whole with these bytes. Raises :class:`BrokenStream`."""
    if key is not None and key in data:
        raise BrokenStream("the answer has the key in it")
    yield from judge.feed(data)


class _Outgoing:
    """What the caller gets: one stream, whichever targets answer. `text` is what was said so far;
    `tokens` are about those of targets whose streams broke; `stops`: why none may go on.
    """

    def __init__(self, job: CallerJob) -> None:
        self._job = job
        self._writer = job.dialect.events(job.asked)
        self._response: web.StreamResponse | None = None
        self._held = bytearray()
        self._head: Json = {}
        self._beside = self._said = False
        self._ends = 0
        self._count = answers_of(job.asked.chat)
        self.text = ""
        self.tokens = 0
        self.stops = ""

    @property
    def begun(self) -> bool:
        """Whether the caller has a part of the answer."""
        return self._response is not None

    @property
    def continues(self) -> bool:
        """Whether one target goes on where another one broke off."""
        return bool(self._job.note.continued)

    @property
    def finished(self) -> bool:
        """Whether the text is whole."""
        return self._ends >= self._count

    def opens(self, server: Server) -> None:
        """A target begins to answer."""
        self._job.answers(server)
        self._ends = 0
        if not self.begun:
            self._held.clear()
            self._head, self._beside, self._said, self.text = {}, False, False, ""
            self._writer = self._job.dialect.events(self._job.asked)

    async def passes(self, chunks: Iterable[Json], one: Try) -> None:
        """Passes chunks on that came together. Raises the fault that one of them is; those before
        it were passed on.
        """
        found = bytearray()
        said = False
        try:
            for chunk in chunks:
                if (fault := self._unsound(chunk)) is not None:
                    raise fault
                said = self._take(chunk, one, found) or said
        except (Fault, BrokenStream):
            if self.begun and found:
                await self.write(found, said=True)
            raise
        if found or self.finished:
            one.clock.hold()
            await self.write(found, said=said)

    def _unsound(self, chunk: Json) -> Fault | None:
        """The fault that a chunk states, or that the end of a text is."""
        if (fault := error_in_stream(chunk)) is not None:
            return fault
        for choice in chunk.get("choices") or ():
            finish = choice.get("finish_reason")
            says = self._said or says_something(choice)
            if finish is not None and (fault := unsound_end(finish, says=says)) is not None:
                return fault
        return None

    def _take(self, chunk: Json, one: Try, found: bytearray) -> bool:
        """Writes a chunk in the caller's dialect to `found`; whether it says something."""
        choices = chunk.get("choices") or ()
        said = False
        for choice in choices:
            self.text += text_of(choice)
            said = said or says_something(choice)
            self._beside = self._beside or says_beside_text(choice)
            self._ends += choice.get("finish_reason") is not None
        if said:
            one.token()
            self._said = True
        if not self._head:
            self._head = {key: chunk[key] for key in ("id", "created") if key in chunk}
        elif self.continues:
            chunk = {**chunk, **self._head}
            for choice in choices:
                if isinstance(choice.get("delta"), dict):
                    choice["delta"].pop("role", None)
            if isinstance(chunk.get("usage"), dict):
                chunk["usage"] = self._whole_usage(chunk["usage"])
            if not said and choices and choices[0].get("finish_reason") is None:
                return False  # an opening; the answer was opened before
        found += self._writer.feed(chunk)
        return said

    def _whole_usage(self, usage: Json) -> Json:
        """The tokens of the answer as a whole, those of the part before about."""
        prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not isinstance(prompt, int) or not isinstance(answer, int):
            return usage
        before = min(self.tokens, prompt)
        return {
            **usage,
            "prompt_tokens": prompt - before,
            "completion_tokens": answer + self.tokens,
            "total_tokens": prompt - before + answer + self.tokens,
        }

    async def write(self, data: bytearray, *, said: bool) -> None:
        """Sends it, once something was said; before that it is held. Raises :class:`CallerLeft`."""
        if self._response is None:
            self._held += data
            if not said:
                if len(self._held) > _HELD:
                    raise BrokenStream("it says nothing at length")
                return
            data, self._held = self._held, bytearray()
            headers = {
                **self._job.note.headers(),
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
            }
            self._response = web.StreamResponse(headers=headers)
            await self._sent(self._response.prepare(self._job.request))
        if data:
            await self._sent(self._response.write(bytes(data)))

    async def _sent(self, sending: object) -> None:
        try:
            await sending  # type: ignore[misc]
        except ConnectionError as error:
            raise CallerLeft from error

    def goes_on_after(self, one: Try, judge: StreamJudge, fault: Fault) -> bool:
        """Whether another target may go on where this one broke off; if so, that is noted."""
        why = judge.may_continue(self._job.asked.chat)
        prompt = self._job.asked.chat.get("prompt")
        if self._job.kind == "completions" and not isinstance(prompt, str):
            why = "there are several prompts"
        if why is None and self._beside and not self.text:
            why = "what was said is no text"
        if why is not None:
            self.stops = (
                f"the answer of {one.server.target.name} broke off ({fault.kind}), and {why}"
            )
            return False
        self.tokens += one.chunks
        self._job.note.continued.append(
            {
                "from": one.server.target.name,
                "reason": str(fault.kind),
                "characters": len(self.text),
            }
        )
        return True

    async def end(self) -> web.StreamResponse:
        """The last event, with the note."""
        assert self._response is not None
        await self._sent(self._response.write(self._writer.end(self._job.note.document())))
        await self._sent(self._response.write_eof())
        return self._response

    async def error(self, message: str) -> web.StreamResponse:
        """An event that says that the answer is not whole."""
        assert self._response is not None
        await self._sent(self._response.write(self._writer.error(502, message)))
        await self._sent(self._response.write_eof())
        return self._response
