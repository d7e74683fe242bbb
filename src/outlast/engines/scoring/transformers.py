"""Scores of safetensors models in their own precision, from transformers in a worker process."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.errors import EngineError
from outlast.engines.base import ChatMessage
from outlast.engines.process import Worker
from outlast.engines.scoring.base import ScoredPosition, TextToken
from outlast.engines.transformers import NAME, TransformersOptions, worker_config

FLOAT32: Final = "float32"
BFLOAT16: Final = "bfloat16"
"""Precisions to compute in, in place of that of the files."""
_AT_ONCE: Final = 64
"""Tokens of an answer of the worker. A guess: with 1,024 likeliest of each, 3 MB."""


class TransformersScorer(Closing):
    """Implements :class:`~outlast.engines.scoring.base.Scorer`."""

    def __init__(self, worker: Worker, facts: Mapping[str, Any]) -> None:
        self._worker = worker
        self._number = 0
        self.build = str(facts.get("build", NAME))

    def render(self, messages: Sequence[ChatMessage], cancel: Cancel) -> list[TextToken]:
        """See :meth:`outlast.engines.scoring.base.Scorer.render`."""
        said = [{"role": message.role, "content": message.content} for message in messages]
        return _tokens(self._ask({"render": said}, cancel))

    def tokenize(self, text: str, cancel: Cancel) -> list[TextToken]:
        """See :meth:`outlast.engines.scoring.base.Scorer.tokenize`."""
        return _tokens(self._ask({"tokenize": text}, cancel))

    def score(
        self, prompt: Sequence[int], text: Sequence[int], keep: int, cancel: Cancel
    ) -> list[ScoredPosition]:
        """See :meth:`outlast.engines.scoring.base.Scorer.score`."""
        found: list[ScoredPosition] = []
        for start in range(0, len(text), _AT_ONCE):
            part = list(text[start : start + _AT_ONCE])
            before = [*prompt, *text[:start]]
            found += _positions(self._ask({"prompt": before, "text": part, "keep": keep}, cancel))
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
        wishes = {"temperature": temperature, "seed": seed, "keep": keep}
        body = {"prompt": list(prompt), "count": count, **wishes}
        return _positions(self._ask(body, cancel))

    def close(self) -> None:
        self._worker.stop(grace=0)

    def _ask(self, body: Mapping[str, Any], cancel: Cancel) -> Mapping[str, Any]:
        self._number += 1
        self._worker.send({"id": self._number, **body})
        while True:
            event = self._worker.receive(cancel)
            if event.get("id") != self._number:
                continue
            if "error" in event:
                raise EngineError(str(event["error"]), hint=str(event.get("hint", "")))
            return event


def open_transformers_scorer(
    folder: str, options: TransformersOptions, cancel: Cancel, *, rounding: str | None = None
) -> TransformersScorer:
    """Loads the model in `folder` as :func:`outlast.engines.transformers.open_transformers` does,
    and raises what that does. `rounding`: see the worker.
    """
    config, links = worker_config(folder, options)
    worker = Worker(
        "outlast.engines.scoring.transformers_worker",
        NAME,
        options.log,
        options.tuning,
        sealed=options.sealed,
    )
    facts = worker.start({**config, "rounding": rounding}, cancel, links, waits=options.waits)
    return TransformersScorer(worker, facts)


def _tokens(event: Mapping[str, Any]) -> list[TextToken]:
    return [TextToken(int(one), piece.encode("latin-1")) for one, piece in event["tokens"]]


def _positions(event: Mapping[str, Any]) -> list[ScoredPosition]:
    return [
        ScoredPosition(
            int(token),
            array("q", ids),
            array("d", logprobs),
            tuple(piece.encode("latin-1") for piece in pieces),
        )
        for token, ids, logprobs, pieces in event["positions"]
    ]
