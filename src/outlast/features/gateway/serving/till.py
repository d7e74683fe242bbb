"""Keys, budgets, the ledger and prices, as the handler uses them: by the file of routes and the
accounts of the archive.
"""

from collections.abc import Callable
from typing import Final

from outlast.core.errors import BudgetSpentError, KeyRefusedError, ModelForbiddenError
from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.costs import LOCAL
from outlast.features.gateway.accounts.origins import Origins
from outlast.features.gateway.accounts.prices import PriceBook
from outlast.features.gateway.accounts.tables import OperatorTables
from outlast.features.gateway.accounts.values import Caller, Estimate, Reservation, Spent
from outlast.features.gateway.seams import BudgetSpent, KeyRefused

OWN: Final = "archive"
"""The provider of targets of the archive."""


class Till:
    """Implements :class:`~outlast.features.gateway.seams.Accounts` and
    :class:`~outlast.features.gateway.seams.Prices`. `read` reads the operator's tables.
    """

    def __init__(
        self, accounts: GatewayAccounts, origins: Origins, read: Callable[[], OperatorTables]
    ) -> None:
        """Raises :class:`~outlast.core.errors.BadConfigError`."""
        self._accounts = accounts
        self._origins = origins
        self._read = read
        self._book = PriceBook({})
        self.reload()

    def reload(self) -> None:
        """Reads prices and the budgets of routes anew. Raises
        :class:`~outlast.core.errors.BadConfigError`; then those that were read before hold.
        """
        tables = self._read()
        self._accounts.use_limits(tables.budgets)
        self._book = PriceBook(tables.prices)

    @property
    def locked(self) -> bool:
        return not self._accounts.keys.are_none

    def authenticate(self, secret: str | None) -> Caller:
        try:
            return self._accounts.authenticate(secret)
        except KeyRefusedError as error:
            raise KeyRefused(str(error)) from None

    def reserve(self, caller: Caller, route: str, model: str, estimate: Estimate) -> Reservation:
        try:
            return self._accounts.reserve(caller, route, model, estimate)
        except BudgetSpentError as error:
            raise BudgetSpent(str(error), retry_after=error.retry_after) from None
        except ModelForbiddenError as error:
            raise BudgetSpent(str(error), status=403) from None

    def settle(self, reservation: Reservation, spent: Spent) -> None:
        country = spent.jurisdiction or self._origins.jurisdiction(spent.provider, spent.model)
        provider = LOCAL if spent.provider == OWN else spent.provider
        if (provider, country) != (spent.provider, spent.jurisdiction):
            spent = Spent(
                spent.target,
                provider,
                spent.model,
                country,
                spent.prompt_tokens,
                spent.completion_tokens,
                spent.money,
                spent.seconds,
            )
        self._accounts.settle(reservation, spent)

    def release(self, reservation: Reservation) -> None:
        self._accounts.release(reservation)

    def write(self) -> None:
        self._accounts.flush()

    def money(
        self, provider: str, model: str, prompt_tokens: int, completion_tokens: int
    ) -> int | None:
        """What a provider asks for it; the archive's own models cost no provider's money."""
        if provider == OWN:
            return 0
        return self._book.price(provider, model, prompt_tokens, completion_tokens)
