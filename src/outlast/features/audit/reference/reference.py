"""The reference of an audit: a model of the archive, as it is and changed, that scores text."""

import contextlib
import importlib.metadata
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.errors import EngineError
from outlast.engines.base import ChatMessage
from outlast.engines.choose import LLAMA
from outlast.engines.gguf import read_header
from outlast.engines.llama import LlamaOptions
from outlast.engines.scoring.base import ScoredPosition, Scorer, TextToken
from outlast.engines.scoring.llama import open_llama_scorer
from outlast.engines.scoring.rounding import ROUNDINGS
from outlast.engines.scoring.transformers import BFLOAT16, FLOAT32, open_transformers_scorer
from outlast.engines.transformers import TransformersOptions
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.rounded_gguf import KERNELS, write_changed
from outlast.ops.run import Prepared

OWN: Final = "own"
"""The weights as they are, computed as exactly as the engine can: transformers in float32."""
ALTERNATIVES: Final = tuple(ROUNDINGS)
"""What a divergent endpoint may have made of the weights."""
_CHANGES: Final = 1
"""The version of what changes do to weights: what was kept for another one is computed anew."""
_MOST_CHANGED: Final = 32 * 1024**3
"""Bytes of a GGUF model that is written anew for an alternative. A guess: a minute of a disk."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """How the reference is computed; None leaves a choice to the engine. `context` is in tokens;
    `scratch`: the folder for changed copies of a model, None for the system's.
    """

    context: int = 4096
    threads: int | None = None
    scratch: Path | None = None


class Reference(Closing):
    """Scores text by the weights of a revision. What was computed before is not computed again,
    and an engine starts with the first text that is new; besides the one of :data:`OWN`, one
    changed model at most is loaded at a time.

    `honest` are the numerics that an honest endpoint may have, `alternatives` the changes that can
    be made of these weights; each name is one that the methods take. Not thread-safe.
    """

    def __init__(
        self, prepared: Prepared, cache: ScoreCache, options: ReferenceOptions, cancel: Cancel
    ) -> None:
        self._prepared = prepared
        self._cache = cache
        self._options = options
        self._cancel = cancel
        self._open: dict[str, tuple[Scorer, contextlib.ExitStack]] = {}
        self._llama = prepared.choice.engine == LLAMA
        self._unchangeable = self._llama and prepared.choice.size > _MOST_CHANGED
        package = "xllamacpp" if self._llama else "transformers"
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        self.build = f"{package} {version}".strip()
        self.computed = 0
        """Texts that were scored, and were not kept from before."""

    @property
    def honest(self) -> tuple[str, ...]:
        if self._unchangeable:
            return (OWN,)
        return (OWN, KERNELS if self._llama else BFLOAT16)

    @property
    def alternatives(self) -> tuple[str, ...]:
        return () if self._unchangeable else ALTERNATIVES

    def render(self, messages: Sequence[ChatMessage]) -> list[TextToken]:
        """See :meth:`outlast.engines.scoring.base.Scorer.render`."""
        said = [[message.role, message.content] for message in messages]
        question = self._question(OWN, render=said)
        return self._tokens(question, lambda: self._scorer(OWN).render(messages, self._cancel))

    def tokenize(self, text: str) -> list[TextToken]:
        """See :meth:`outlast.engines.scoring.base.Scorer.tokenize`."""
        question = self._question(OWN, tokenize=text)
        return self._tokens(question, lambda: self._scorer(OWN).tokenize(text, self._cancel))

    def score(
        self, change: str, prompt: Sequence[int], text: Sequence[int], keep: int
    ) -> list[ScoredPosition]:
        """See :meth:`outlast.engines.scoring.base.Scorer.score`."""
        if not text:
            return []
        asked = {"prompt": list(prompt), "text": list(text), "keep": keep}
        return self._positions(
            self._question(change, score=asked),
            lambda: self._scorer(change).score(prompt, text, keep, self._cancel),
        )

    def generate(
        self,
        change: str,
        prompt: Sequence[int],
        count: int,
        keep: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[ScoredPosition]:
        """See :meth:`outlast.engines.scoring.base.Scorer.generate`."""
        how = {"temperature": temperature, "seed": seed}
        asked = {"prompt": list(prompt), "count": count, "keep": keep, **how}
        return self._positions(
            self._question(change, generate=asked),
            lambda: self._scorer(change).generate(
                prompt, count, keep, self._cancel, temperature=temperature, seed=seed
            ),
        )

    def close(self) -> None:
        """Ends the engines. May be called again."""
        for name in list(self._open):
            self._open.pop(name)[1].close()

    def _question(self, change: str, **asked: Any) -> dict[str, Any]:
        choice = self._prepared.choice
        return {
            "manifest": self._prepared.revision.digest.hex,
            "files": list(choice.files),
            "engine": self.build,
            "change": [change, _CHANGES],
            **asked,
        }

    def _tokens(
        self, question: Mapping[str, Any], compute: Callable[[], list[TextToken]]
    ) -> list[TextToken]:
        found = self._cache.tokens(question)
        if found is None:
            found = compute()
            self._cache.keep_tokens(question, found)
        return found

    def _positions(
        self, question: Mapping[str, Any], compute: Callable[[], list[ScoredPosition]]
    ) -> list[ScoredPosition]:
        found = self._cache.positions(question)
        if found is None:
            found = compute()
            self.computed += 1
            self._cache.keep_positions(question, found)
        return found

    def _scorer(self, change: str) -> Scorer:
        if change not in self._open:
            for name in [name for name in self._open if OWN not in (name, change)]:
                self._open.pop(name)[1].close()
            with contextlib.ExitStack() as stack:
                _log.info("loads the reference: %s", change)
                scorer = self._load(change, stack)
                stack.enter_context(contextlib.closing(scorer))
                if change == OWN:
                    self._prepared.confirm()
                self._open[change] = scorer, stack.pop_all()
        return self._open[change][0]

    def _load(self, change: str, stack: contextlib.ExitStack) -> Scorer:
        options = self._options
        if not self._llama:
            assert self._prepared.folder is not None
            rounding = FLOAT32 if change == OWN else change
            torch = TransformersOptions(threads=options.threads)
            return open_transformers_scorer(
                str(self._prepared.folder), torch, self._cancel, rounding=rounding
            )
        paths = list(self._prepared.paths)
        header = read_header(str(paths[0]))
        context = min(header.context_length or options.context, options.context)
        llama = LlamaOptions(context=context, threads=options.threads)
        if change != OWN:
            folder = stack.enter_context(self._scratch())
            paths = write_changed(paths, folder, change)
        return open_llama_scorer(
            [str(path) for path in paths], llama, self._cancel, plain=not header.template
        )

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder for a changed model, which goes with the engine that has it open."""
        where = self._options.scratch
        folder = Path(tempfile.mkdtemp(prefix="outlast-audit-", dir=where))
        try:
            if shutil.disk_usage(folder).free < 5 * self._prepared.choice.size:
                raise EngineError(
                    "there is no room for changed copies of the model",
                    hint=f"free {5 * self._prepared.choice.size >> 20} MiB at {folder.parent}",
                )
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
