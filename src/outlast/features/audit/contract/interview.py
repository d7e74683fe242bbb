"""Asks an endpoint for one check after the other, beside the reference that reads its answers."""

import secrets
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from outlast.engines.base import ChatMessage
from outlast.engines.scoring.base import TextToken
from outlast.features.audit.asking.answers import ServedAnswer
from outlast.features.audit.asking.endpoint import AuditedEndpoint
from outlast.features.audit.asking.prompts import make_prompts
from outlast.features.audit.reference.reference import OWN, Reference

ANSWER: Final = 32
"""Tokens of most answers. A guess: two sentences, that differ where text is sampled."""
_MOST_TEXT: Final = 16_384
"""Characters of an answer that are read: 64 tokens are asked for at most."""
GREEDY: Final[Mapping[str, Any]] = {"temperature": 0, "top_p": 1}
SAMPLED: Final[Mapping[str, Any]] = {"temperature": 1, "top_p": 1}


class Interview:
    """One endpoint, and the model that it is said to serve. `questions` are new each time, as all
    that is asked, unless a seed is given.
    """

    def __init__(
        self, endpoint: AuditedEndpoint, reference: Reference, seed: bytes | None = None
    ) -> None:
        self._endpoint = endpoint
        self.reference = reference
        seed = secrets.token_bytes(16) if seed is None else seed
        self.questions = make_prompts(seed, 8)
        self.random = Random(seed)  # noqa: S311 - it keeps no secret
        self._likeliest: dict[str, ServedAnswer] = {}

    def ask(
        self, question: str, how: Mapping[str, Any] = GREEDY, most: int = ANSWER, **more: Any
    ) -> ServedAnswer:
        """The answer of at most `most` tokens. Raises what :meth:`AuditedEndpoint.ask` does."""
        return self._endpoint.ask(question, self.count(question), most, {**how, **more})

    def likeliest(self, question: str) -> ServedAnswer:
        """The answer at temperature 0, asked for once."""
        if question not in self._likeliest:
            self._likeliest[question] = self.ask(question)
        return self._likeliest[question]

    def told(self, system: str, question: str, most: int) -> ServedAnswer:
        """The answer to a question with a system message before it."""
        said = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        length = self.count(question, system)
        return self._endpoint.ask(question, length, most, {**GREEDY, "messages": said})

    def count(self, question: str, system: str | None = None) -> int:
        """The tokens of a question under the model's chat template."""
        said = [ChatMessage("user", question)]
        if system is not None:
            said.insert(0, ChatMessage("system", system))
        return len(self.reference.render(said))

    def tokens(self, text: str) -> list[TextToken]:
        """Those of an answer, as the reference reads it."""
        return self.reference.tokenize(text[:_MOST_TEXT])

    def recount(self, text: str) -> int:
        """How many tokens an answer has, read anew."""
        return len(self.tokens(text))

    def log_probability(self, question: str, text: str) -> float:
        """Of a text as the answer to a question, by the archived weights, in nats. What they find
        unlikely counts as -10 a token.
        """
        prompt = [token.id for token in self.reference.render([ChatMessage("user", question)])]
        tokens = [token.id for token in self.tokens(text)[: 2 * ANSWER]]
        scored = self.reference.score(OWN, prompt, tokens, 64)
        return sum(-10.0 if one.chosen is None else one.chosen for one in scored)

    def answer_of_reference(self, question: str, most: int) -> str:
        """What the archived weights answer at temperature 0."""
        prompt = [token.id for token in self.reference.render([ChatMessage("user", question)])]
        made = self.reference.generate(OWN, prompt, most, 1)
        pieces: Sequence[bytes] = [one.pieces[0] for one in made]
        return b"".join(pieces).decode("utf-8", "replace")
