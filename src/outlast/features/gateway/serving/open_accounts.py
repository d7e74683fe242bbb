"""Accounts where the operator made no keys: all callers get in, and there is no budget. Prices that
are not known.
"""

from dataclasses import dataclass

from outlast.features.gateway.accounts.values import Estimate, Spent


@dataclass(frozen=True, slots=True)
class AnyCaller:
    name: str = "local"


class OpenAccounts:
    """Implements :class:`~outlast.features.gateway.seams.Accounts`."""

    locked = False

    def authenticate(self, secret: str | None) -> AnyCaller:
        del secret
        return AnyCaller()

    def reserve(self, caller: AnyCaller, route: str, model: str, estimate: Estimate) -> None:
        del caller, route, model, estimate

    def settle(self, reservation: None, spent: Spent) -> None:
        del reservation, spent

    def release(self, reservation: None) -> None:
        del reservation

    def write(self) -> None:
        """Nothing waits."""


class UnknownPrices:
    """Implements :class:`~outlast.features.gateway.seams.Prices`."""

    def money(
        self, provider: str, model: str, prompt_tokens: int, completion_tokens: int
    ) -> int | None:
        del provider, model, prompt_tokens, completion_tokens
        return None
