"""Rows as tokens: what a model is shown, and which of it it learns to write.

A row is cut into parts at the places where, when the model is used, a prompt ends and an answer
begins. Each part becomes tokens by itself, as it will then.
"""

import hashlib
import importlib
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from outlast.engines.transformers_worker import little_memory
from outlast.features.tune.data import Problem, Row, Segment

_TELL_SECONDS: Final = 0.5
MAX_CHARACTERS: Final = 16 << 20
"""Of a rendered row: a template that makes more of 4 MiB is damaged or hostile."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row as tokens; `learned` has a 1 for each token that the model learns to write."""

    key: bytes
    ids: "array[int]"
    learned: bytes

    @property
    def targets(self) -> int:
        """Tokens that are learned; the first of a row is never predicted."""
        return sum(self.learned[1:])


@dataclass(slots=True)
class Tokenised:
    """`cut`: the lines that are longer than the bound, with their tokens."""

    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    cut: list[tuple[int, int]] = field(default_factory=list)


def tokenise(
    tokenizer: Any, rows: Sequence[Row], length: int, tell: Callable[[int], object]
) -> Tokenised:
    """All rows, the first `length` tokens of each. `tell` is called about twice a second with how
    many are done.
    """
    found = Tokenised()
    said = time.monotonic()
    for done, row in enumerate(rows):
        if time.monotonic() - said > _TELL_SECONDS:
            said = time.monotonic()
            tell(done)
        try:
            sample = _sample(tokenizer, row)
        except _CannotError as error:
            found.problems.append(Problem(row.line, str(error)))
            continue
        if len(sample.ids) > length:
            found.cut.append((row.line, len(sample.ids)))
            sample = Sample(sample.key, sample.ids[:length], sample.learned[:length])
        if sample.targets == 0:
            found.problems.append(
                Problem(row.line, f"nothing is left to learn within {length} tokens")
            )
            continue
        found.samples.append(sample)
    return found


def tokenizer_digest(tokenizer: Any) -> str:
    """The sha256 of the tokenizer as the tokenizers library writes it, in hex; "" for one that is
    not of that library.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return "" if backend is None else hashlib.sha256(backend.to_str().encode()).hexdigest()


class _CannotError(Exception):
    """Why a row cannot become tokens."""


def _sample(tokenizer: Any, row: Row) -> Sample:
    segments = _chat(tokenizer, row.messages) if row.messages else row.segments
    ids, learned = array("q"), bytearray()
    for place, segment in enumerate(segments):
        # A chat template writes the special tokens itself.
        first = place == 0 and not row.messages
        part = _ids(tokenizer, segment.text, special=first)
        ids.extend(part)
        learned += bytes([segment.learned]) * len(part)
    if not row.messages and tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
        learned.append(1)
    return Sample(row.key, ids, bytes(learned))


def _ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    if special and found and found[-1] == tokenizer.eos_token_id:
        found = found[:-1]  # some tokenizers end every text
    return found


def _chat(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> list[Segment]:
    """A conversation in parts: what comes before each answer, and the answer with what ends it.

    Where the template writes earlier answers in another way than the last, the last alone is
    learned. Where it writes answers in another way than it asks for them, the answer is learned as
    a model will be asked for it, and ends with the tokenizer's end token.
    """
    said = [{"role": role, "content": content} for role, content in messages]
    whole = _render(tokenizer, said, prompt=False)
    answers = [place for place, (role, _) in enumerate(messages) if role == "assistant"]
    for learned in (answers, answers[-1:]):
        if found := _parts(tokenizer, said, learned, whole):
            return found
    before = _render(tokenizer, said[:-1], prompt=True)
    return [Segment(before, False), Segment(messages[-1][1] + (tokenizer.eos_token or ""), True)]


def _parts(
    tokenizer: Any, said: list[dict[str, str]], answers: Sequence[int], whole: str
) -> list[Segment]:
    found: list[Segment] = []
    at = 0
    for place in answers:
        before = _render(tokenizer, said[:place], prompt=True)
        until = (
            whole if place == len(said) - 1 else _render(tokenizer, said[: place + 1], prompt=False)
        )
        if not (whole.startswith(before) and whole.startswith(until)):
            return []
        if not at <= len(before) < len(until):
            return []
        found += [
            Segment(whole[at : len(before)], False),
            Segment(whole[len(before) : len(until)], True),
        ]
        at = len(until)
    return [segment for segment in found if segment.text]


def _render(tokenizer: Any, said: list[dict[str, str]], *, prompt: bool) -> str:
    template_error: type[Exception] = importlib.import_module("jinja2").TemplateError
    try:
        with little_memory():
            text: str = tokenizer.apply_chat_template(
                said, tokenize=False, add_generation_prompt=prompt
            )
    except MemoryError:
        raise _CannotError("the chat template needs too much memory") from None
    except (template_error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _CannotError(f"the chat template failed: {str(error)[:100]}") from error
    if len(text) > MAX_CHARACTERS:
        raise _CannotError(f"the chat template makes more than {MAX_CHARACTERS} characters")
    return text
