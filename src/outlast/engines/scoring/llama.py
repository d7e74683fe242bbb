"""Scores of GGUF models, from llama.cpp's server on its private socket.

Its native completions take a prompt as tokens and tell the likeliest tokens after it, up to the
whole vocabulary, before any sampling. A text is scored one token at a time: the server keeps what
it has read, so each costs one step.
"""

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from outlast.core.cancel import Cancel
from outlast.core.errors import EndlessTemplateError, EngineError
from outlast.engines.base import ChatMessage
from outlast.engines.llama import LlamaOptions, serve
from outlast.engines.local_http import AskBounds, NoAnswerError, TooLongError, ask
from outlast.engines.scoring.base import ScoredPosition, TextToken
from outlast.engines.served import ServedModel, Service
from outlast.engines.template_check import RENDER, SUSPECT, endless, too_long
from outlast.engines.tuning import Tuning

_ANSWER_SECONDS: Final = 1800.0
"""Until a request has to be answered. A guess: a long prompt of a large model on a CPU."""
_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""A guess: a token's entry takes 100 bytes, a vocabulary has 300,000 of them."""


class LlamaScorer:
    """Implements :class:`~outlast.engines.scoring.base.Scorer`."""

    def __init__(self, server: ServedModel, tuning: Tuning, *, plain: bool) -> None:
        self._server = server
        self._tuning = tuning
        self._plain = plain

    @property
    def build(self) -> str:
        return self._server.build

    def render(self, messages: Sequence[ChatMessage], cancel: Cancel) -> list[TextToken]:
        """See :meth:`outlast.engines.scoring.base.Scorer.render`."""
        if self._plain:
            text = "\n".join(message.content for message in messages)
            return self._tokens(text, cancel, special=True)
        said = [{"role": message.role, "content": message.content} for message in messages]
        tuning = self._tuning
        bounds = AskBounds(
            time.monotonic() + tuning.template_seconds, tuning.template_bytes, tuning.poll_seconds
        )
        try:
            status, answer = ask(
                self._server.socket_path, RENDER, {"messages": said}, bounds, cancel
            )
        except NoAnswerError:
            error: EndlessTemplateError = endless(tuning)
            self._server.condemn(error)
            raise error from None
        except TooLongError:
            raise EngineError(too_long(tuning), hint=SUSPECT) from None
        return self._tokens(_text(_checked(status, answer), "prompt"), cancel, special=True)

    def tokenize(self, text: str, cancel: Cancel) -> list[TextToken]:
        """See :meth:`outlast.engines.scoring.base.Scorer.tokenize`."""
        return self._tokens(text, cancel, special=False)

    def score(
        self, prompt: Sequence[int], text: Sequence[int], keep: int, cancel: Cancel
    ) -> list[ScoredPosition]:
        """See :meth:`outlast.engines.scoring.base.Scorer.score`."""
        before = list(prompt)
        found = []
        for token in text:
            [position] = self._complete(before, 1, keep, cancel, {"temperature": 0})
            found.append(replace(position, token=token))
            before.append(token)
        return found

    def generate(
        self,
        prompt: Sequence[int],
        count: int,
        keep: int,
        cancel: Cancel,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[ScoredPosition]:
        """See :meth:`outlast.engines.scoring.base.Scorer.generate`."""
        wishes: dict[str, Any] = {"temperature": temperature, "seed": seed}
        if temperature:
            wishes |= {"samplers": ["temperature"]}
        return self._complete(list(prompt), count, keep, cancel, wishes)

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _complete(
        self,
        prompt: list[int],
        count: int,
        keep: int,
        cancel: Cancel,
        wishes: Mapping[str, Any],
    ) -> list[ScoredPosition]:
        if not prompt:
            raise EngineError("the prompt is empty", hint=SUSPECT)
        body = {
            "prompt": prompt,
            "n_predict": count,
            "n_probs": keep,
            "cache_prompt": True,
            **wishes,
        }
        answer = self._ask("/completion", body, cancel)
        found = [_position(one) for one in _list(answer, "completion_probabilities")]
        if not found or len(found) > count:
            raise EngineError("llama.cpp's answer has no probabilities")
        return found

    def _tokens(self, text: str, cancel: Cancel, *, special: bool) -> list[TextToken]:
        body = {
            "content": text,
            "add_special": special and self._plain,
            "parse_special": special and not self._plain,
            "with_pieces": True,
        }
        return [
            TextToken(int(one["id"]), _piece(one["piece"]))
            for one in _list(self._ask("/tokenize", body, cancel), "tokens")
        ]

    def _ask(self, path: str, body: object, cancel: Cancel) -> Any:
        bounds = AskBounds(
            time.monotonic() + _ANSWER_SECONDS, _ANSWER_BYTES, self._tuning.poll_seconds
        )
        try:
            return _checked(*ask(self._server.socket_path, path, body, bounds, cancel))
        except NoAnswerError:
            raise EngineError("llama.cpp does not answer") from None
        except TooLongError:
            raise EngineError("llama.cpp's answer is too long") from None
        except EngineError:
            if not self._server.alive:
                raise self._server.failure() from None
            raise


def open_llama_scorer(
    files: Sequence[str], options: LlamaOptions, cancel: Cancel, *, plain: bool = False
) -> LlamaScorer:
    """Loads `files` as :func:`outlast.engines.llama.open_llama` does, and raises what that does.
    `plain`: the model has no chat template.
    """
    # One text at a time, which has the whole context.
    tuning = replace(options.tuning, served_at_once=1)
    server = serve(
        files, Service("reference", embeddings=False), replace(options, tuning=tuning), cancel
    )
    return LlamaScorer(server, tuning, plain=plain)


def _checked(status: int, answer: Any) -> Any:
    if status != 200:
        error = answer.get("error") if isinstance(answer, dict) else None
        why = error.get("message") if isinstance(error, dict) else None
        raise EngineError(f"llama.cpp refused the text: {why or status}")
    return answer


def _list(answer: Any, key: str) -> list[Any]:
    found = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise EngineError(f"llama.cpp's answer has no {key}")
    return found


def _text(answer: Any, key: str) -> str:
    found = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, str):
        raise EngineError(f"llama.cpp's answer has no {key}")
    return found


def _piece(said: Any) -> bytes:
    """A piece is text, or a list of bytes where it is not UTF-8 by itself."""
    return said.encode("utf-8", "surrogatepass") if isinstance(said, str) else bytes(said)


def _position(said: Mapping[str, Any]) -> ScoredPosition:
    top = said["top_logprobs"]
    return ScoredPosition(
        int(said["id"]),
        array("q", (int(one["id"]) for one in top)),
        array("d", (float(one["logprob"]) for one in top)),
        tuple(bytes(one["bytes"]) for one in top),
    )
