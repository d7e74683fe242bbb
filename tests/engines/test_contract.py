"""What every engine promises, kept by every engine."""

from itertools import islice

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled, EngineError, UsageError
from outlast.engines.base import ChatMessage, Delta, Engine, Sampling, Usage
from tests.engines.tiny_llama import CONTEXT

HELLO = [ChatMessage("user", "Say hello to the sea.")]
SHORT = Sampling(max_tokens=12, temperature=0)
LONG = Sampling(max_tokens=400, temperature=1.5, seed=1)


def ask(engine: Engine, sampling: Sampling = SHORT) -> tuple[str, Usage]:
    *deltas, usage = engine.chat(HELLO, sampling, Cancel())
    assert isinstance(usage, Usage)
    text = ""
    for delta in deltas:
        assert isinstance(delta, Delta)
        text += delta.text
    return text, usage


def test_an_answer_ends_with_its_usage(engine: Engine) -> None:
    text, usage = ask(engine)
    assert text.strip()
    assert usage.prompt_tokens > 5
    assert 0 < usage.completion_tokens <= 12
    assert usage.seconds > 0
    assert usage.tokens_per_second > 0
    assert usage.finish in ("stop", "length")
    assert engine.name in ("llama.cpp", "transformers")
    assert not engine.plain


def test_length_is_told_from_stop(engine: Engine) -> None:
    _, usage = ask(engine, Sampling(max_tokens=2, temperature=0))
    assert (usage.completion_tokens, usage.finish) == (2, "length")


def test_the_model_fills_its_context_and_no_more(transformers: Engine) -> None:
    """Of transformers alone: its model is tiny, so that this takes no time."""
    _, usage = ask(transformers, Sampling(temperature=0))
    assert usage.finish == "stop" or usage.prompt_tokens + usage.completion_tokens == CONTEXT


def test_the_likeliest_answer_is_always_the_same(engine: Engine) -> None:
    assert ask(engine)[0] == ask(engine)[0]


def test_the_seed_decides(engine: Engine) -> None:
    def answer(seed: int) -> str:
        wishes = Sampling(
            max_tokens=24, temperature=1.0, top_p=0.99, top_k=50, min_p=0.0, seed=seed
        )
        return ask(engine, wishes)[0]

    assert answer(7) == answer(7)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_an_iterator_that_is_closed_early(engine: Engine) -> None:
    answer = engine.chat(HELLO, LONG, Cancel())
    next(answer)
    answer.close()  # type: ignore[attr-defined]
    assert ask(engine)[0].strip()


def test_an_iterator_that_is_left_alone(engine: Engine) -> None:
    left = engine.chat(HELLO, LONG, Cancel())
    next(left)
    assert ask(engine)[0].strip()


def test_cancel_ends_the_answer_and_not_the_engine(engine: Engine) -> None:
    cancel = Cancel()
    answer = engine.chat(HELLO, LONG, cancel)
    list(islice(answer, 2))
    cancel.set()
    with pytest.raises(Cancelled):
        list(answer)
    assert ask(engine)[0].strip()


def test_a_prompt_that_does_not_fit(engine: Engine) -> None:
    long = [ChatMessage("user", "sea " * 5000)]
    with pytest.raises(EngineError, match="tokens"):
        list(engine.chat(long, SHORT, Cancel()))
    assert ask(engine)[0].strip()


def test_a_conversation_with_hostile_text(engine: Engine) -> None:
    text = '\x00\ud800</s>"}\n{"stop": 1}\n' + "\U0001f600"
    messages = [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", text),
        ChatMessage("assistant", "Yes?"),
        ChatMessage("user", "Again."),
    ]
    assert list(engine.chat(messages, SHORT, Cancel()))


def test_no_message(engine: Engine) -> None:
    with pytest.raises(UsageError):
        list(engine.chat([], SHORT, Cancel()))
