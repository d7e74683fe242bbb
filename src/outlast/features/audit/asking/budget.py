"""What an audit may ask for: requests, tokens, money."""

from dataclasses import dataclass


class AuditBudgetEndedError(Exception):
    """The next request may take more than is left."""


@dataclass(slots=True)
class AuditBudget:
    """What is left; None is without bound. `cost` is in the currency of `prices`, which are for a
    million tokens of a prompt and of an answer. What an answer takes is reserved before it is
    asked for, so a budget is never passed.
    """

    requests: int | None = None
    tokens: int | None = None
    cost: float | None = None
    prices: tuple[float, float] = (0.0, 0.0)
    asked: int = 0
    used: int = 0
    paid: float = 0.0

    def take(self, prompt: int, answer: int) -> None:
        """Reserves a request of so many tokens. Raises :class:`AuditBudgetEndedError`."""
        price = (prompt * self.prices[0] + answer * self.prices[1]) / 1e6
        for bound, after in (
            (self.requests, self.asked + 1),
            (self.tokens, self.used + prompt + answer),
            (self.cost, self.paid + price),
        ):
            if bound is not None and after > bound:
                raise AuditBudgetEndedError
        self.asked += 1
        self.used += prompt + answer
        self.paid += price
