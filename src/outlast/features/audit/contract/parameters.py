"""Whether an endpoint heeds what says how text is chosen, or ignores it."""

import math
from typing import Final

from outlast.features.audit.contract.clauses import Found, broken, kept, untestable
from outlast.features.audit.contract.interview import SAMPLED, Interview

_CHANCE: Final = 1e-3
"""How likely a verdict may be by chance."""
_TIMES: Final = 3
_LISTED: Final = 5


def same_text(interview: Interview) -> Found:
    """At temperature 0 the answer is the same again."""
    question = interview.questions[0]
    if interview.ask(question).text == interview.likeliest(question).text:
        return kept("an answer at temperature 0 is the same again")
    return untestable("it is not, as that of servers that compute several requests at once")


def temperature(interview: Interview) -> Found:
    """At temperature 1 answers differ. That they do not by chance has a known probability."""
    question, chance = _varied(interview)
    texts = {interview.ask(question, SAMPLED).text for _ in range(_TIMES)}
    if texts - {interview.likeliest(question).text}:
        return kept(f"of {_TIMES} answers at temperature 1 not all are the likeliest")
    if chance**_TIMES > _CHANCE:
        return untestable("the model says the same at temperature 1 and 0, mostly")
    return broken(
        f"{_TIMES} answers at temperature 1 are the likeliest: it is ignored, or they are kept"
    )


def top_p(interview: Interview) -> Found:
    """With a tiny top-p the answer is the likeliest, at any temperature."""
    question, chance = _varied(interview)
    if chance > _CHANCE:
        return untestable("the model says the same at any temperature, mostly")
    likeliest = interview.likeliest(question).text
    if interview.ask(question).text != likeliest:
        return untestable("the answers at temperature 0 differ")
    if interview.ask(question, {"temperature": 1, "top_p": 1e-6}).text == likeliest:
        return kept("an answer with a top-p of 0.000001 is the likeliest")
    return broken("an answer with a top-p of 0.000001 is not the likeliest")


def seed(interview: Interview) -> Found:
    """The same seed gives the same sampled text, and another seed another one."""
    question, chance = _varied(interview)
    if chance > _CHANCE:
        return untestable("the model says the same at any temperature, mostly")
    first, again, other = (interview.ask(question, SAMPLED, seed=n).text for n in (1, 1, 2))
    if first != again:
        return broken("two answers with the same seed differ")
    if first == other:
        return broken("answers with different seeds are the same")
    return kept("an answer with the same seed is the same, and with another one another")


def logit_bias(interview: Interview) -> Found:
    """A token that is forbidden does not begin the answer."""
    question = interview.questions[0]
    tokens = interview.tokens(interview.likeliest(question).text)
    if not tokens:
        return untestable("the answer is empty")
    said = interview.ask(question, most=8, logit_bias={str(tokens[0].id): -100})
    begins = interview.tokens(said.text)
    if begins and begins[0].id == tokens[0].id:
        return broken("a token that is forbidden begins the answer")
    return kept("a token that is forbidden does not begin the answer")


def choices(interview: Interview) -> Found:
    """Two answers come where two are asked for."""
    found = 1 + len(interview.ask(interview.questions[0], SAMPLED, n=2).others)
    return kept("n = 2 gives 2 answers") if found == 2 else broken(f"n = 2 gives {found}")


def logprobs(interview: Interview) -> Found:
    """The lists of likeliest tokens that were asked for come."""
    how = {**SAMPLED, "logprobs": True, "top_logprobs": _LISTED}
    answer = interview.ask(interview.questions[0], how, most=8)
    longest = max((len(one.top) for one in answer.tokens or ()), default=0)
    if longest >= _LISTED:
        return kept(f"lists of {longest} likeliest tokens come")
    return broken(f"lists of {_LISTED} likeliest tokens were asked for, and have {longest}")


def _varied(interview: Interview) -> tuple[str, float]:
    """The question whose likeliest answer is the least likely to be sampled, and that chance, by
    the archived weights.
    """
    rated = [
        (interview.log_probability(one, interview.likeliest(one).text), one)
        for one in interview.questions[:3]
    ]
    least, question = min(rated)
    return question, math.exp(min(0.0, least))
