"""What a request costs at a provider: by the operator's table, else by the data of the package
genai-prices, which is asked offline. A price that neither has is unknown, and never 0.
"""

import datetime as dt
import importlib.util
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from outlast.features.gateway.accounts.money import nanos_of
from outlast.features.gateway.accounts.tables import ModelRates

_log = logging.getLogger(__name__)

_FRESH: Final = 60.0
"""Seconds for which a price holds: some change with the time of day."""
_MOST_KNOWN: Final = 10_000
_PLAIN: Final = frozenset({"input_mtok", "output_mtok"})
_NOT_OURS: Final = ("cache_", "input_audio", "output_audio", "web_searches", "storage_", "file_")
"""Parts of a price that plain tokens do not touch."""


@dataclass(frozen=True, slots=True)
class _KnownPrice:
    """What was found, and until when it holds. `tiered`: the rates depend on the request; no
    `rates` and not `tiered`: unknown.
    """

    until: float
    rates: ModelRates | None = None
    tiered: bool = False
    answers: bool = True
    """Whether the price of answers is known."""


class PriceBook:
    """Prices by provider and model; `rows` are the operator's. Prompt tokens that a provider reads
    from its cache, and sells for less, cost the full price here. Thread-safe.
    """

    def __init__(
        self, rows: Mapping[str, ModelRates], clock: Callable[[], float] = time.time
    ) -> None:
        self._rows: Final = dict(rows)
        self._clock: Final = clock
        self._known: dict[tuple[str, str], _KnownPrice] = {}

    def warm(self) -> None:
        """Loads the package's data: 0.5 s, and 25 MB of memory. Otherwise the first question does,
        if the operator's table has no answer.
        """
        self.price("openai", "-", 1, 1)

    def price(
        self, provider: str, model: str, prompt_tokens: int, completion_tokens: int
    ) -> int | None:
        """Nano-dollars of a request, rounded up; None if the price is unknown."""
        row = self._rows.get(f"{provider}/{model}") or self._rows.get(model)
        if row is not None:
            return row.nanos(prompt_tokens, completion_tokens)
        known = self._known.get((provider, model))
        if known is None or known.until < self._clock():
            known = self._look_up(provider, model)
        if known.tiered:
            return _worked_out(provider, model, prompt_tokens, completion_tokens, self._clock())
        if known.rates is None or (completion_tokens and not known.answers):
            return None
        return known.rates.nanos(prompt_tokens, completion_tokens)

    def _look_up(self, provider: str, model: str) -> _KnownPrice:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        now = self._clock()
        found = self._known[provider, model] = _known(provider, model, now)
        return found


def has_prices() -> bool:
    """Whether the package of prices is installed."""
    return importlib.util.find_spec("genai_prices") is not None


def _known(provider: str, model: str, now: float) -> _KnownPrice:
    until = now + _FRESH
    found = _ask(provider, model, 1, 0, now)
    if found is None:
        return _KnownPrice(until)
    parts = {
        name: value
        for name, value in vars(found.model_price).items()
        if value is not None and not name.startswith(("_", *_NOT_OURS))
    }
    prompt, answer = parts.get("input_mtok"), parts.get("output_mtok")
    if prompt is None and answer is None:
        return _KnownPrice(until)  # what the package does not know, it sums up to 0
    is_plain = parts.keys() <= _PLAIN and all(isinstance(v, Decimal) for v in parts.values())
    if not is_plain:
        return _KnownPrice(until, tiered=prompt is not None and answer is not None)
    if prompt is None:
        return _KnownPrice(until)
    return _KnownPrice(until, ModelRates(prompt, answer or Decimal(0)), answers=answer is not None)


def _worked_out(
    provider: str, model: str, prompt_tokens: int, completion_tokens: int, now: float
) -> int | None:
    found = _ask(provider, model, prompt_tokens, completion_tokens, now)
    if found is None:
        return None
    return nanos_of(found.total_price)


def _ask(
    provider: str, model: str, prompt_tokens: int, completion_tokens: int, now: float
) -> Any | None:
    """What the package says; None where it knows no such model. Its data are in its files: nothing
    here lets it fetch others.
    """
    if not provider or not model or not has_prices():
        return None
    import genai_prices  # noqa: PLC0415 - half a second

    try:
        return genai_prices.calc_price(
            genai_prices.Usage(input_tokens=prompt_tokens, output_tokens=completion_tokens),
            model,
            provider_id=provider,
            genai_request_timestamp=dt.datetime.fromtimestamp(now, dt.UTC),
        )
    except (LookupError, ValueError, ArithmeticError, OSError) as error:
        _log.debug("no price of %s at %s: %s", model[:200], provider[:200], error)
        return None
