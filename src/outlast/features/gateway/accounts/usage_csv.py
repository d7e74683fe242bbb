"""The usage ledger as CSV, and the factors that apply to its money."""

import csv
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, TextIO

from outlast.features.gateway.accounts.ledger import LedgerRow
from outlast.features.gateway.accounts.money import dollars_text, scaled

COLUMNS: Final = (
    "day",
    "key",
    "route",
    "target",
    "provider",
    "model",
    "jurisdiction",
    "certain",
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "dollars",
    "unpriced_requests",
    "factor",
    "dollars_with_factor",
    "seconds",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With these, also in full width, spreadsheets begin what they execute."""


def factor_of(row: LedgerRow, tariffs: Mapping[str, Decimal]) -> Decimal:
    """What the money of a row is multiplied with: the factor of its jurisdiction, and that of its
    provider; 1 where there are none.
    """
    one = Decimal(1)
    return tariffs.get(row.jurisdiction, one) * tariffs.get(row.provider, one)


def with_factor(row: LedgerRow, tariffs: Mapping[str, Decimal]) -> int:
    """Nano-dollars of a row with its factor, rounded up."""
    return scaled(row.money, factor_of(row, tariffs))


def write_csv(
    rows: Iterable[LedgerRow],
    names: Mapping[str, str],
    tariffs: Mapping[str, Decimal],
    out: TextIO,
) -> None:
    """Writes a line for each row (RFC 4180). `names` are those of keys by id. A text that a
    spreadsheet would take for a formula gets an apostrophe before it. Dollars of requests without a
    known price are left empty, and not 0.
    """
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        is_priced = row.unpriced < row.requests
        writer.writerow(
            (
                row.day,
                guarded(names.get(row.caller, row.caller)),
                guarded(row.route),
                guarded(row.target),
                guarded(row.provider),
                guarded(row.model),
                guarded(row.jurisdiction),
                "yes" if row.certain else "no",
                row.requests,
                row.prompt_tokens,
                row.completion_tokens,
                dollars_text(row.money) if is_priced else "",
                row.unpriced,
                factor_of(row, tariffs),
                dollars_text(with_factor(row, tariffs)) if is_priced else "",
                f"{row.milliseconds // 1000}.{row.milliseconds % 1000:03d}",
            )
        )


def guarded(text: str) -> str:
    """`text`, so that no spreadsheet executes it."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
