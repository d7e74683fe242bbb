"""Answers that come as a whole: the first target that gives a sound one."""

from typing import Any, Final

import msgspec
from aiohttp import web

from outlast.features.gateway.dialects.anthropic_target import from_messages
from outlast.features.gateway.dialects.strict_json import is_too_dense
from outlast.features.gateway.seams import BrokenStream, BudgetSpent, Json
from outlast.features.gateway.serving.anomalies import unsound_whole
from outlast.features.gateway.serving.fleet import Server
from outlast.features.gateway.serving.job import CallerJob, Desk, Failed, Try
from outlast.features.gateway.upstream.asking import Body
from outlast.features.gateway.upstream.faults import Fault, FaultKind, fault_of_stream

MOST: Final = 64 * 1024 * 1024
"""Bytes of an answer: what embeddings of a large batch take."""
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


async def answer_whole(desk: Desk, job: CallerJob) -> web.StreamResponse:
    """Raises :class:`Failed`, :class:`~outlast.features.gateway.upstream.clock.CallerLeft`."""
    spent: BudgetSpent | None = None
    for server in job.plan.servers():
        if not job.may_ask(server):
            continue
        try:
            with Try(desk, job, server) as one:
                try:
                    answer = await _asked(one, job, server)
                except Fault as fault:
                    one.failed(fault)
                    if fault.is_callers:
                        raise refused(fault) from None
                    job.passes(server, fault)
                    continue
                job.answers(server)
                one.succeeded()
                said = job.dialect.whole(job.asked, answer)
                said["outlast"] = job.note.document()
                return web.Response(
                    body=_encode(said),
                    content_type="application/json",
                    headers=job.note.headers(),
                )
        except BudgetSpent as error:
            spent = error
            job.note.skipped(server.target.name, "budget")
    raise over_budget(spent) if spent is not None and not job.faults else job.failed()


async def _asked(one: Try, job: CallerJob, server: Server) -> Json:
    """Raises :class:`Fault`."""
    body = await one.open(job.body_for(server))
    data = await _read(one, body)
    one.token()
    endpoint = server.target.endpoint
    if endpoint is not None and endpoint.key is not None and endpoint.key.encode() in data:
        raise Fault(FaultKind.MALFORMED, "the answer has the key in it")
    answer = _object(data)
    if server.target.speaks_messages:
        try:
            answer = from_messages(answer)
        except BrokenStream as broken:
            raise fault_of_stream(broken) from None
    one.used(answer.get("usage"), len(data) // 8 if job.kind != "embeddings" else 0)
    if (fault := unsound_whole(job.kind, answer)) is not None:
        raise fault
    return answer


async def _read(one: Try, body: Body) -> bytes:
    """All of a body. White space, which some providers send while they compute, is no part of an
    answer. Raises :class:`Fault`.
    """
    found = bytearray()
    while data := await body.piece():
        found += data
        if len(found) > MOST:
            raise Fault(FaultKind.MALFORMED, f"the answer is longer than {MOST >> 20} MiB")
        if not data.isspace():
            one.awaits_bytes()
    return bytes(found)


def _object(data: bytes) -> Json:
    if is_too_dense(data):
        raise Fault(FaultKind.MALFORMED, "the answer has too many values")
    try:
        answer: Any = _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Fault(FaultKind.MALFORMED, "the answer is no JSON") from None
    if not isinstance(answer, dict):
        raise Fault(FaultKind.MALFORMED, "the answer is no object")
    return answer


def refused(fault: Fault) -> Failed:
    """The caller's own fault, in the words of the target that found it."""
    return Failed(fault.status or 400, str(fault), error=dict(fault.error))


def over_budget(spent: BudgetSpent) -> Failed:
    """No target is within the caller's budget."""
    return Failed(spent.status, str(spent), retry_after=spent.retry_after)
