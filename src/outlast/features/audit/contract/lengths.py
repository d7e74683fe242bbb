"""What an endpoint counts and where it cuts: prompts, answers, stop texts, long contexts."""

import re
from collections.abc import Sequence
from typing import Final

from outlast.core.errors import EngineError
from outlast.features.audit.contract.clauses import Found, broken, kept, untestable
from outlast.features.audit.contract.interview import ANSWER, Interview

_FEW: Final = 8
"""Tokens of an answer that is to be cut."""
_DEPTHS: Final = (0.1, 0.5, 0.9)
_SYSTEM: Final = "You are the assistant of a small library. You answer politely, and in short."
_UNTOLD: Final = "the endpoint does not tell how many tokens it bills"
_ROOM: Final = 24
"""Tokens of the answer that names a number from a long prompt."""


def prompt_tokens(interview: Interview) -> Found:
    """Prompts are billed as the archived tokenizer and template make them. The same difference in
    each is a hidden system prompt, which may stand in place of the template's own, or another
    template.
    """
    over: list[int] = []
    for count in range(1, 6):
        question = " ".join(interview.questions[:count])
        billed = interview.ask(question, most=1).billed_prompt
        if billed is None:
            return untestable(_UNTOLD)
        over.append(billed - interview.count(question))
    if set(over) <= {0}:
        return kept("5 prompts are billed as the model's tokenizer and template count them")
    if len(set(over)) > 1:
        return broken(f"prompts are counted in another way: by {_signed(over)} tokens")
    if abs(over[0]) == 1:
        return kept(f"each prompt is billed {over[0]:+d} token: one that begins a text")
    return broken(
        f"each prompt is billed {over[0]:+d} tokens: a hidden system prompt, or another template"
    )


def system_message(interview: Interview) -> Found:
    """A system message is counted, so it is not left out."""
    question = interview.questions[0]
    plain = interview.ask(question, most=1).billed_prompt
    told = interview.told(_SYSTEM, question, 1).billed_prompt
    if plain is None or told is None:
        return untestable(_UNTOLD)
    added = interview.count(question, _SYSTEM) - interview.count(question)
    if told - plain == added:
        return kept("a prompt with one is billed as the template makes it")
    return broken(f"it is counted as {told - plain:+d} tokens, and takes {added:+d}")


def answer_tokens(interview: Interview) -> Found:
    """Answers are billed as they are long. Text read anew may have fewer tokens than were made, and
    one ends it: a tenth is allowed, and one of each answer.
    """
    answers = [interview.likeliest(one) for one in interview.questions[:3]]
    billed = [one.billed for one in answers if one.billed is not None]
    if len(billed) < len(answers):
        return untestable(_UNTOLD)
    counted = sum(interview.recount(one.thought + one.text) for one in answers)
    said = f"{sum(billed)} tokens are billed for 3 answers, and {counted} counted"
    fair = counted - len(answers) <= sum(billed) <= 1.1 * counted + len(answers)
    return kept(said) if fair else broken(said)


def max_tokens(interview: Interview) -> Found:
    """An answer is cut where it is asked to be, and the endpoint says so."""
    question = _question_of_length(interview, 2 * _FEW)
    if question is None:
        return untestable("the answers are too short to be cut")
    cut = interview.ask(question, most=_FEW)
    count = interview.recount(cut.text)
    if count > _FEW + 1:
        return broken(f"an answer of at most {_FEW} tokens has {count}")
    if cut.finish != "length":
        return broken(f"an answer that is cut says that it ends for {cut.finish!r}")
    return kept(f"an answer is cut at {_FEW} tokens, and says so")


def stop(interview: Interview) -> Found:
    """An answer ends before a stop text."""
    for question in interview.questions:
        text = interview.likeliest(question).text
        word = _late_word(text)
        if word is None:
            continue
        said = interview.ask(question, stop=[word])
        if word in said.text:
            return broken(f"an answer goes on after {word!r}")
        before = text[: text.index(word)]
        if said.text.strip() == before.strip():
            return kept(f"an answer ends before {word!r}")
        return untestable("the answers at temperature 0 differ")
    return untestable("no answer has a word to stop at")


def context(interview: Interview, length: int) -> Found:
    """A prompt of `length` tokens is billed whole, and a number is found at several depths of it,
    where the archived weights find it.
    """
    found: list[str] = []
    lost: list[str] = []
    for depth in _DEPTHS:
        number = str(interview.random.randrange(1000, 10_000))
        prompt = _with_needle(interview, length - _ROOM, depth, number)
        answer = interview.ask(prompt, most=_ROOM)
        counted = interview.count(prompt)
        if answer.billed_prompt is not None and answer.billed_prompt < counted * 0.98:
            return broken(f"a prompt of {counted:,} tokens is cut to {answer.billed_prompt:,}")
        try:
            own = interview.answer_of_reference(prompt, _ROOM)
        except EngineError as error:
            return untestable(f"the archived weights do not read {counted:,} tokens: {error}")
        if number in own:
            (found if number in answer.text else lost).append(f"{depth:.0%}")
    if lost:
        return broken(f"what stands at {', '.join(lost)} of {length:,} tokens is not found")
    if not found:
        return untestable(f"the archived weights themselves find nothing in {length:,} tokens")
    return kept(f"what stands at {', '.join(found)} of {length:,} tokens is found")


def _signed(values: Sequence[int]) -> str:
    return ", ".join(f"{one:+d}" for one in values)


def _question_of_length(interview: Interview, least: int) -> str | None:
    """One whose answer has at least so many tokens."""
    assert least <= ANSWER
    for question in interview.questions[:3]:
        if interview.recount(interview.likeliest(question).text) >= least:
            return question
    return None


def _late_word(text: str) -> str | None:
    """A word of a text after its first quarter, which does not occur before."""
    for match in re.finditer(r"[^\s\N{REPLACEMENT CHARACTER}]{3,}", text):
        if match.start() > len(text) / 4 and text.index(match.group()) == match.start():
            return match.group()
    return None


def _with_needle(interview: Interview, length: int, depth: float, number: str) -> str:
    """A prompt of at most `length` tokens that asks for a number which stands in it."""
    needle = f"The number of the green door is {number}."
    question = "What is the number of the green door? Answer with the number."

    def made(count: int) -> str:
        lines = [f"Note {n}: {interview.questions[n % 8]}" for n in range(count)]
        lines.insert(round(depth * count), needle)
        return "\n".join([*lines, question])

    low, high = 0, length  # a line has several tokens
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if interview.count(made(middle)) <= length else (low, middle - 1)
    return made(low)
