"""Scores of GGUF models, from llama.cpp's server on its private socket.

Its native completions take a prompt as tokens and tell the likeliest tokens after it, up to the
whole vocabulary, before any sampling. Its embeddings, not pooled, are the last hidden states of
all tokens of a text: with the output matrix they score a text in one pass. Where that does not say
what the completions do, or a text is too long for one pass, it is scored one token at a time: the
server keeps what it has read, so each costs one step.
"""

import logging
import math
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.errors import EndlessTemplateError, EngineError
from outlast.engines.base import ChatMessage
from outlast.engines.llama import LlamaOptions, serve
from outlast.engines.llama_worker import EMBEDDING_BATCH
from outlast.engines.local_http import AskBounds, NoAnswerError, TooLongError, ask
from outlast.engines.scoring.base import ScoredPosition, TextToken
from outlast.engines.scoring.unembedding import Unembedding, read_unembedding
from outlast.engines.served import ServedModel, Service
from outlast.engines.template_check import RENDER, SUSPECT, endless, too_long
from outlast.engines.tuning import Tuning

_ANSWER_SECONDS: Final = 1800.0
"""Until a request has to be answered. A guess: a long prompt of a large model on a CPU."""
_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""A guess: a token's entry takes 100 bytes, a vocabulary has 300,000 of them."""
_EVERY: Final = 1 << 20
_TRIED: Final = 8
"""Tokens of a prompt."""
_COMPARED: Final = 20
"""Likeliest tokens of which hidden states and completions must say the same."""
_AGREES: Final = 0.1
"""Nats. Measured with SmolLM2-135M in F16 and BF16: they differ by .01, as a pass over many tokens
computes with other kernels than a step does."""
_log = logging.getLogger(__name__)


class LlamaScorer(Closing):
    """Implements :class:`~outlast.engines.scoring.base.Scorer`."""

    def __init__(
        self,
        server: ServedModel,
        tuning: Tuning,
        unembedding: Unembedding | None = None,
        *,
        plain: bool,
        pass_tokens: int = 0,
    ) -> None:
        self._server = server
        self._tuning = tuning
        self._plain = plain
        self._unembedding = unembedding
        self._pass_tokens = pass_tokens
        self._pieces: dict[int, bytes] = {}

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
        if not prompt:
            raise EngineError("the prompt is empty", hint=SUSPECT)
        if not text:
            return []
        if self._scores_at_once(prompt, cancel) and len(prompt) + len(text) <= self._pass_tokens:
            return self._score_at_once(prompt, text, keep, cancel)
        before = list(prompt)
        found = []
        for token in text:
            body = {"prompt": before, "n_predict": 1, "n_probs": keep, "temperature": 0}
            [position] = self._complete(body, cancel)[1]
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
        if not prompt:
            raise EngineError("the prompt is empty", hint=SUSPECT)
        body: dict[str, Any] = {"prompt": list(prompt), "n_predict": count, "n_probs": keep}
        body |= {"temperature": temperature, "seed": seed}
        if temperature:
            body |= {"samplers": ["temperature"]}
        tokens, found = self._complete(body, cancel)
        if [one.token for one in found] != tokens:
            # llama.cpp tells nothing of a token that ends within a character.
            return self.score(prompt, tokens, keep, cancel)
        return found

    def close(self) -> None:
        self._server.close()

    def _complete(
        self, body: Mapping[str, Any], cancel: Cancel
    ) -> tuple[list[int], list[ScoredPosition]]:
        """The tokens of an answer, and what is told of them: not always of all."""
        body = {"cache_prompt": True, "return_tokens": True, **body}
        answer = self._ask("/completion", body, cancel)
        tokens = [int(token) for token in _list(answer, "tokens")]
        told = _list(answer, "completion_probabilities") if tokens else []
        if not tokens or max(len(tokens), len(told)) > body["n_predict"]:
            raise EngineError("llama.cpp's answer has no probabilities")
        return tokens, [_position(one) for one in told]

    def _scores_at_once(self, prompt: Sequence[int], cancel: Cancel) -> bool:
        """Whether hidden states say what completions do: tried once, with the start of the first
        prompt, for the whole vocabulary. That also tells what bytes the tokens are.
        """
        if self._unembedding is None or self._pieces:
            return bool(self._pieces)
        prompt = prompt[: min(_TRIED, self._pass_tokens)]
        body = {"prompt": list(prompt), "n_predict": 1, "n_probs": _EVERY, "temperature": 0}
        _, told = self._complete(body, cancel)
        if not told:
            return False  # the likeliest token ends within a character: perhaps the next prompt
        [own] = told
        try:
            [found] = self._unembedding.tops(self._states(prompt, cancel)[-1:], len(own.ids))
        except (EngineError, ValueError):
            self._unembedding = None
            return False
        said = dict(zip(own.ids, own.logprobs, strict=True))
        compared = list(zip(found.ids, found.logprobs, strict=True))[:_COMPARED]
        if not all(abs(said.get(token, -math.inf) - one) < _AGREES for token, one in compared):
            _log.info("the hidden states do not tell log probabilities: one step a token")
            self._unembedding = None
            return False
        self._pieces = dict(zip(own.ids, own.pieces, strict=True))
        return True

    def _score_at_once(
        self, prompt: Sequence[int], text: Sequence[int], keep: int, cancel: Cancel
    ) -> list[ScoredPosition]:
        assert self._unembedding is not None
        states = self._states([*prompt, *text[:-1]], cancel)[len(prompt) - 1 :]
        try:
            tops = self._unembedding.tops(states, keep)
        except ValueError as error:
            raise EngineError(f"llama.cpp's answer has {error}") from None
        return [
            ScoredPosition(
                token, top.ids, top.logprobs, tuple(self._pieces.get(one, b"") for one in top.ids)
            )
            for token, top in zip(text, tops, strict=True)
        ]

    def _states(self, tokens: Sequence[int], cancel: Cancel) -> list[list[float]]:
        """The last hidden state of each token."""
        body = {"content": [list(tokens)], "embd_normalize": -1}
        answer = self._ask("/embeddings", body, cancel)
        found = answer[0].get("embedding") if isinstance(answer, list) and answer else None
        if not isinstance(found, list) or len(found) != len(tokens):
            raise EngineError("llama.cpp's answer has no hidden states")
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
    unembedding = read_unembedding(files)
    server = serve(
        files,
        Service("reference", embeddings=False, states=unembedding is not None),
        replace(options, tuning=tuning),
        cancel,
    )
    most = min(EMBEDDING_BATCH, options.context or EMBEDDING_BATCH)
    return LlamaScorer(server, tuning, unembedding, plain=plain, pass_tokens=most)


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
