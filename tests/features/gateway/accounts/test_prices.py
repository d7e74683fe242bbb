"""What a request costs, exactly; and the operator's tables that say so."""

import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.cli.feature import country_of
from outlast.core.errors import BadConfigError
from outlast.features import FEATURES
from outlast.features.gateway.accounts import prices
from outlast.features.gateway.accounts.money import (
    dollars_text,
    nanos_of,
    parse_dollars,
    scaled,
)
from outlast.features.gateway.accounts.origins import Origins
from outlast.features.gateway.accounts.periods import Period, period_at, seconds_left
from outlast.features.gateway.accounts.prices import PriceBook
from outlast.features.gateway.accounts.tables import ModelRates, OperatorTables, read_tables
from outlast.features.trust.settings import TrustSettings
from tests.features.gateway.accounts.kit import DAY_30, Clock

TABLES = """
[prices."openai/gpt-x"]
input = "1.25"
output = 10
request = 0.0001

[prices."any-model"]
input = 0.0375

[local.fast]
dollars-per-hour = "1.80"
curve = [[1, 40], [8, 210.5]]

[tariffs]
CN = "1.25"

[[budgets]]
route = "fast"
period = "month"
money = "200"

[ledger]
keep-days = 30

[routes.fast]
targets = ["of another reader"]
"""


def read(tmp_path: Path, text: str) -> OperatorTables:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return read_tables(path)


def test_the_operators_table_wins_and_is_exact(tmp_path: Path) -> None:
    book = PriceBook(read(tmp_path, TABLES).prices)
    assert book.price("openai", "gpt-x", 1_000_000, 0) == 1_250_000_000 + 100_000
    assert book.price("openai", "gpt-x", 1, 1) == 1250 + 10_000 + 100_000
    assert book.price("elsewhere", "any-model", 1, 0) == 38  # 37.5, rounded up once
    assert book.price("elsewhere", "any-model", 2, 5) == 75
    own = PriceBook({"openai/gpt-5": ModelRates(Decimal(2), Decimal(3))})
    assert own.price("openai", "gpt-5", 10, 10) == 50_000


def test_the_package_has_the_others() -> None:
    book = PriceBook({}, Clock())
    assert book.price("openai", "gpt-5", 1000, 100) == 2_250_000  # $1.25 and $10 a million
    # Tiers: the price of a long prompt is not that of a short one.
    short = book.price("anthropic", "claude-sonnet-4-5", 1000, 10)
    long = book.price("anthropic", "claude-sonnet-4-5", 300_000, 10)
    assert short is not None
    assert long is not None
    assert long > 300 * short
    assert book.price("openai", "text-embedding-3-small", 1000, 0) == 20_000


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("nowhere", "gpt-5"),
        ("", "gpt-5"),
        ("openai", ""),
        ("google", "gemma-4-26b-a4b-it"),  # the package sums nothing up to 0
        ("openai", "\ud800\n" * 500),
    ],
)
def test_what_has_no_price_is_unknown_and_not_free(provider: str, model: str) -> None:
    assert PriceBook({}, Clock()).price(provider, model, 1000, 100) is None


def test_an_answer_without_a_price_is_unknown() -> None:
    assert PriceBook({}, Clock()).price("openai", "text-embedding-3-small", 10, 1) is None


def test_without_the_package_prices_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "has_prices", lambda: False)
    book = PriceBook({"m": ModelRates(Decimal(1), Decimal(1))}, Clock())
    assert book.price("openai", "gpt-5", 1, 1) is None
    assert book.price("openai", "m", 1, 1) == 2000


def test_no_price_comes_from_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it asks the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert PriceBook({}, Clock()).price("openai", "gpt-5-mini", 1000, 100)


@given(
    st.decimals(0, 10**6, places=9),
    st.decimals(0, 10**6, places=9),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)
def test_nothing_is_rounded_but_the_end(prompt: Decimal, answer: Decimal, p: int, c: int) -> None:
    # In units of 1e-18 dollars a token everything is whole.
    exact = int(prompt.scaleb(9)) * p + int(answer.scaleb(9)) * c  # 1e-15 dollars
    found = ModelRates(prompt, answer).nanos(p, c)
    assert 0 <= found * 10**6 - exact < 10**6


@given(st.integers(0, 10**18), st.decimals(0, 1000, places=6))
def test_factors_are_exact_too(nanos: int, factor: Decimal) -> None:
    assert 0 <= scaled(nanos, factor) * 10**6 - nanos * int(factor.scaleb(6)) < 10**6


def test_money_as_text() -> None:
    shown = [dollars_text(nanos) for nanos in (0, 1, 10**9, 12_500_000_000, -5 * 10**8)]
    assert shown == ["0.00", "0.000000001", "1.00", "12.50", "-0.50"]
    assert nanos_of(Decimal("0.0000000011")) == 2


@pytest.mark.parametrize(
    "wrong",
    ["", "x", "-1", "1e400", "NaN", "inf", "1_000", "१", "1" * 50, True, None, [], "1e10", "1e-19"],
)
def test_what_is_no_amount(wrong: Any) -> None:
    with pytest.raises(BadConfigError):
        parse_dollars(wrong, "x")


def test_the_tables(tmp_path: Path) -> None:
    found = read(tmp_path, TABLES)
    assert found.local["fast"].curve == ((1, Decimal(40)), (8, Decimal("210.5")))
    assert found.tariffs == {"CN": Decimal("1.25")}
    (limit,) = found.budgets["fast"]
    assert (limit.account, limit.period, limit.money) == (
        "route/fast",
        Period.MONTH,
        200 * 10**9,
    )
    assert found.keep_days == 30
    assert read_tables(tmp_path / "none") == OperatorTables()


@pytest.mark.parametrize(
    "wrong",
    [
        "[",
        "prices = 1",
        '[prices.m]\noutput = "1"',
        '[prices.m]\ninput = "x"',
        "[prices.m]\ninput = nan",
        '[prices.m]\ninput = "1"\nprice = "1"',
        '[local.r]\ndollars-per-hour = "1"\ncurve = []',
        '[local.r]\ndollars-per-hour = "1"\ncurve = [[2, 1], [1, 2]]',
        '[local.r]\ndollars-per-hour = "1"\ncurve = [[1, 0]]',
        '[local.r]\ndollars-per-hour = "1"\ncurve = [[1, inf]]',
        '[local.r]\ndollars-per-hour = "1"\ncurve = [[1.5, 1]]',
        '[tariffs]\nCN = "1001"',
        '[[budgets]]\nroute = "r"\nperiod = "year"',
        '[[budgets]]\nroute = "r"\nperiod = "day"\nmoney = "-1"',
        "[ledger]\nkeep-days = 0",
        "x = " + "[" * 5000,
        "#" * (1 << 20) + "\n",
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(BadConfigError, match=r"gateway\.toml"):
        read(tmp_path, wrong)


def test_where_a_publisher_is(tmp_path: Path) -> None:
    found = country_of(FEATURES, lambda _: TrustSettings(), tmp_path)
    origins = Origins(found)
    assert origins.jurisdiction("openrouter", "Qwen/Qwen3-8B") == "CN"
    assert origins.jurisdiction("local", "meta-llama/Llama-3.1-8B") == "US"
    assert origins.jurisdiction("google", "gemini-3") == "US"
    assert origins.jurisdiction("nowhere", "model") == "unknown"
    own = tmp_path / "trust" / "publishers.toml"
    own.parent.mkdir()
    own.write_text('[publishers.nowhere]\ncountry = "CH"\nsource = "us"\ndate = "2026-11-30"\n')
    again = Origins(country_of(FEATURES, lambda _: TrustSettings(), tmp_path))
    assert again.jurisdiction("nowhere", "model") == "CH"
    assert Origins(None).jurisdiction("google", "x") == "unknown"


@pytest.mark.parametrize(
    ("kind", "now", "name", "left"),
    [
        (Period.DAY, DAY_30, "2026-11-30", 12 * 3600.0),
        (Period.MONTH, DAY_30, "2026-11", 12 * 3600.0),
        (Period.MONTH, DAY_30 + 86_400 * 31, "2026-12", 12 * 3600.0),
        (Period.DAY, -1e300, "1970-01-01", 86_400.0),
        (Period.MONTH, 1e300, "9998-12", 1.0),
        (Period.TOTAL, DAY_30, "", None),
    ],
)
def test_periods(kind: Period, now: float, name: str, left: float | None) -> None:
    assert period_at(kind, now) == name
    assert seconds_left(kind, now) == left
