"""What holds of each scorer: llama.cpp with a small GGUF, transformers with a tiny model."""

import math
import os
from collections.abc import Callable, Iterator

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled, EngineError
from outlast.engines.base import ChatMessage
from outlast.engines.llama import LlamaOptions
from outlast.engines.local_http import ask
from outlast.engines.scoring.base import Scorer
from outlast.engines.scoring.llama import open_llama_scorer
from outlast.engines.scoring.transformers import open_transformers_scorer
from outlast.engines.scoring.unembedding import read_unembedding
from outlast.engines.transformers import TransformersOptions
from tests.engines.conftest import (  # noqa: F401 - fixtures
    model,
    tiny,
    tiny_models,
    torch_python,
    weights,
)

ASKED = [ChatMessage("user", "the sea is blue and the sky")]
EVERY = 1 << 20
NUMERICS = 0.5
"""Nats by which llama.cpp differs from itself, where it reads a text of a model in 4 bits at once
or token by token."""
TORCH = TransformersOptions(device="cpu", threads=1)


@pytest.fixture(scope="module")
def llama_scorer(model: str) -> Iterator[Scorer]:  # noqa: F811
    options = LlamaOptions(context=256, threads=1)
    with open_llama_scorer([model], options, Cancel()) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def torch_scorer(tiny: Callable[[bool], str]) -> Iterator[Scorer]:  # noqa: F811
    with open_transformers_scorer(tiny(True), TORCH, Cancel()) as scorer:
        yield scorer


@pytest.fixture(params=["llama_scorer", "torch_scorer"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    found: Scorer = request.getfixturevalue(request.param)
    return found


def test_a_distribution_is_whole(scorer: Scorer) -> None:
    prompt = [token.id for token in scorer.render(ASKED, Cancel())]
    [position] = scorer.score(prompt, [5], EVERY, Cancel())
    assert position.token == 5
    assert sum(map(math.exp, position.logprobs)) == pytest.approx(1, abs=1e-4)
    assert list(position.logprobs) == sorted(position.logprobs, reverse=True)
    assert len(set(position.ids)) == len(position.ids) == len(position.pieces)
    assert position.chosen == position.logprobs[position.ids.index(5)]
    [few] = scorer.score(prompt, [position.ids[9]], 8, Cancel())
    assert few.chosen is None
    assert list(few.ids) == list(position.ids[:8])
    assert scorer.build


def test_what_is_generated_is_scored_alike(scorer: Scorer) -> None:
    prompt = [token.id for token in scorer.render(ASKED, Cancel())]
    made = scorer.generate(prompt, 8, 16, Cancel())
    text = [position.token for position in made]
    assert [position.token for position in made] == [position.ids[0] for position in made]
    again = scorer.score(prompt, text, 16, Cancel())
    assert [position.token for position in again] == text
    for one, other in zip(made, again, strict=True):
        assert one.chosen == pytest.approx(other.chosen, abs=NUMERICS)
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=NUMERICS)


def test_a_token_that_ends_within_a_character_is_told_too(llama_scorer: Scorer) -> None:
    """At this temperature all tokens are as likely, and some are the first bytes of a character.
    llama.cpp leaves those out of the probabilities that it tells.
    """
    prompt = [token.id for token in llama_scorer.render(ASKED, Cancel())]
    made = llama_scorer.generate(prompt, 160, 8, Cancel(), temperature=1e4, seed=2)
    assert len(made) == 160
    again = llama_scorer.score(prompt, [position.token for position in made], 8, Cancel())
    for one, other in zip(made, again, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=NUMERICS)


def test_a_text_is_scored_in_one_pass_as_step_by_step(llama_scorer: Scorer) -> None:
    prompt = [token.id for token in llama_scorer.render(ASKED, Cancel())]
    text = [token.id for token in llama_scorer.tokenize(" a red sea, a bl\xfce sky", Cancel())]
    steps = [
        llama_scorer.generate([*prompt, *text[:number]], 1, 64, Cancel())[0]
        for number in range(len(text))
    ]
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        real = ask

        def counting(*arguments: object) -> object:
            asked.append(str(arguments[1]))
            return real(*arguments)  # type: ignore[arg-type]

        patch.setattr("outlast.engines.scoring.llama.ask", counting)
        llama_scorer.score(prompt, text, 1, Cancel())
        asked.clear()
        passed = llama_scorer.score(prompt, text, EVERY, Cancel())
    assert asked == ["/embeddings"]
    for one, other in zip(steps, passed, strict=True):
        said = dict(zip(other.ids, zip(other.logprobs, other.pieces, strict=True), strict=True))
        for token, logprob, piece in zip(one.ids, one.logprobs, one.pieces, strict=True):
            assert said[token][0] == pytest.approx(logprob, abs=NUMERICS)
            assert said[token][1] == piece


def test_a_model_whose_states_tell_nothing_is_scored_step_by_step(
    model: str,  # noqa: F811
    llama_scorer: Scorer,
) -> None:
    """As where it caps or scales what its output matrix says."""
    options = LlamaOptions(context=256, threads=1)
    prompt = [token.id for token in llama_scorer.render(ASKED, Cancel())]
    right = llama_scorer.score(prompt, [5, 6], 16, Cancel())
    wrong = read_unembedding([model])
    assert wrong is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrong, "_matrix", -wrong._matrix)
        patch.setattr("outlast.engines.scoring.llama.read_unembedding", lambda _: wrong)
        with open_llama_scorer([model], options, Cancel()) as scorer:
            found = scorer.score(prompt, [5, 6], 16, Cancel())
    for one, other in zip(right, found, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=NUMERICS)


def test_sampling_follows_its_seed(scorer: Scorer) -> None:
    prompt = [token.id for token in scorer.render(ASKED, Cancel())]

    def text(seed: int) -> list[int]:
        made = scorer.generate(prompt, 12, 4, Cancel(), temperature=1.5, seed=seed)
        return [position.token for position in made]

    assert text(3) == text(3)
    assert len({tuple(text(seed)) for seed in range(4)}) > 1


def test_pieces_are_the_bytes_of_the_text(scorer: Scorer) -> None:
    said = "the sky is blüe"
    tokens = scorer.tokenize(said, Cancel())
    assert b"".join(token.piece for token in tokens) == said.encode()
    rendered = b"".join(token.piece for token in scorer.render(ASKED, Cancel()))
    assert b"the sea is blue and the sky" in rendered
    assert rendered != ASKED[0].content.encode()  # the chat template has added something
    [position] = scorer.score([tokens[0].id], [tokens[1].id], EVERY, Cancel())
    assert position.pieces[position.ids.index(tokens[1].id)] == tokens[1].piece


def test_what_does_not_fit_is_refused(scorer: Scorer) -> None:
    with pytest.raises(EngineError):
        scorer.score([5] * 5000, [5], 4, Cancel())
    with pytest.raises(EngineError):
        scorer.generate([], 4, 4, Cancel())
    stopped = Cancel()
    stopped.set()
    with pytest.raises(Cancelled):
        scorer.score([5], [5], 4, stopped)
    assert scorer.score([5], [5], 4, Cancel())


@pytest.mark.parametrize("rounding", ["int8", "fp8", "int4"])
def test_rounded_weights_say_something_else(
    torch_scorer: Scorer,
    tiny: Callable[[bool], str],  # noqa: F811
    rounding: str,
) -> None:
    prompt = [token.id for token in torch_scorer.render(ASKED, Cancel())]
    [exact] = torch_scorer.score(prompt, [7], EVERY, Cancel())
    with open_transformers_scorer(tiny(True), TORCH, Cancel(), rounding=rounding) as other:
        [rounded] = other.score(prompt, [7], EVERY, Cancel())
    assert exact.chosen is not None
    assert rounded.chosen is not None
    assert 1e-7 < abs(exact.chosen - rounded.chosen) < 0.5


def test_a_model_that_is_none(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(EngineError):
        open_transformers_scorer(os.fspath(tmp_path), TORCH, Cancel())
