"""One model of an endpoint that answers as OpenAI's chat completions."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outlast.core.cancel import Cancel
from outlast.core.errors import MalformedError, OutlastError, UnreachableError
from outlast.features.audit.asking.answers import (
    MOST_ANSWER,
    ServedAnswer,
    UntestableError,
    read_answer,
)
from outlast.features.audit.asking.budget import AuditBudget
from outlast.features.audit.asking.exchanges import Exchanges
from outlast.sources.http import HttpClient, Response

_ERROR_BYTES: Final = 64 * 1024
_PAUSE: Final = 2.0
"""Seconds before an endpoint that asks for patience, without saying how much, is asked again."""


@dataclass(frozen=True, slots=True)
class AskTuning:
    """Seconds until an answer has to be whole, and for which an endpoint that asks for patience
    (429, 503) gets it in all.
    """

    answer_seconds: float = 120.0
    patience_seconds: float = 300.0


class RefusedRequestError(Exception):
    """The endpoint refused a request as one that it does not take (400, 404, 422)."""


class AuditedEndpoint:
    """Asks for answers, one at a time. `url` is that up to ``/v1``; `budget` bounds what is
    asked. An endpoint whose answers name one model, and then another, is none to conclude from.
    `exchanges` has each answer, and what was sent for it.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None,
        *,
        http: HttpClient,
        budget: AuditBudget,
        cancel: Cancel,
        tuning: AskTuning | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self._key = key
        self._http = http
        self._budget = budget
        self._cancel = cancel
        self._tuning = tuning or AskTuning()
        self.exchanges = Exchanges()
        self._waited = 0.0
        self._named: str | None = None

    def ask(
        self, prompt: str, prompt_tokens: int, answer_tokens: int, wishes: Mapping[str, Any]
    ) -> ServedAnswer:
        """The answer to a prompt. Raises :class:`UntestableError`, :class:`RefusedRequestError`,
        :class:`~outlast.features.audit.asking.budget.AuditBudgetEndedError`, :class:`Cancelled`.
        """
        self._budget.take(prompt_tokens, answer_tokens)
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": answer_tokens,
            "stream": False,
            "n": 1,
            **wishes,
        }
        request = json.dumps(body).encode()
        data, seconds = self._send(request)
        self.exchanges.add(prompt, request, data, seconds)
        answer = read_answer(data)
        if self._named is not None and answer.model != self._named:
            raise UntestableError(
                f"the endpoint answers as {answer.model[:60]!r}, and as {self._named[:60]!r} before"
            )
        self._named = answer.model
        return answer

    def _send(self, body: bytes) -> tuple[bytes, float]:
        """The answer, and the seconds that it took."""
        while True:
            started = time.monotonic()
            try:
                with self._http.ask(
                    f"{self.url}/chat/completions",
                    body=body,
                    token=self._key,
                    timeout=self._tuning.answer_seconds,
                ) as response:
                    if response.status == 200:
                        data = response.read_all(MOST_ANSWER, self._tuning.answer_seconds)
                        return data, time.monotonic() - started
                    pause = self._pause(response)
            except (UnreachableError, MalformedError) as error:
                raise UntestableError(f"no whole answer came: {error}") from None
            self._wait(pause)

    def _pause(self, response: Response) -> float:
        """How long to wait before asking again. Raises where that is of no use."""
        if response.status in {429, 503}:
            said = response.headers.get("Retry-After", "")
            return float(said) if said.isdecimal() and len(said) < 9 else _PAUSE
        why = _message(response)
        if response.status in {400, 404, 422}:
            raise RefusedRequestError(why)
        raise UntestableError(f"the endpoint answers with status {response.status}: {why}")

    def _wait(self, seconds: float) -> None:
        self._waited += seconds
        if self._waited > self._tuning.patience_seconds:
            raise UntestableError(
                f"the endpoint asks for patience: more than {self._tuning.patience_seconds:.0f} s"
            )
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._cancel.check()
            time.sleep(min(left, 0.1))


def _message(response: Response) -> str:
    try:
        said = json.loads(response.read_all(_ERROR_BYTES, 10))
        error = said["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:200]
    except (OutlastError, ValueError, LookupError, TypeError, RecursionError):
        return "no reason given"
