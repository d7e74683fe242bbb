"""``outlast gateway keys``, ``usage`` and ``costs``."""

import csv
import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.costs import route_costs
from outlast.features.gateway.accounts.keys import UserKeys
from outlast.features.gateway.accounts.ledger import LedgerRow
from outlast.features.gateway.accounts.tables import LocalMachine
from outlast.features.gateway.accounts.usage_csv import guarded
from outlast.features.gateway.feature import GATEWAY
from tests.cli.call import Call, inside
from tests.features.gateway.accounts.kit import ESTIMATE, spent

MACHINE = LocalMachine(Decimal("3.60"), ((1, Decimal(10)), (4, Decimal(40)), (16, Decimal(100))))


def gateway(home: Path, *arguments: str | Path, **more: Any) -> Call:
    return inside("gateway", *arguments, home=home, **more)


def use(home: Path, secret: str | None, *spents: Any, route: str = "fast") -> None:
    with GatewayAccounts(home / "archive") as box:
        who = box.authenticate(secret)
        for one in spents:
            box.settle(box.reserve(who, route, "gpt", ESTIMATE), one)


def test_a_key_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    budget = ("--budget", "day:tokens=2k,money=5.5", "--budget", "month@fast:requests=10")
    made = gateway(tmp_path, "keys", "new", "alice", *budget, "--concurrency", "4").ok()
    secret = made.out.strip()
    assert "not shown again" in made.err
    use(tmp_path, secret, spent(50, 30, 7 * 10**8))
    shown = gateway(tmp_path, "keys", "list").ok().out
    assert "day 80/2,000 tokens, $0.70/$5.50; month on fast 1/10 requests; at once 0/4" in shown
    assert secret not in shown
    gateway(tmp_path, "keys", "change", "alice", "--budget", "total:tokens=5").ok()
    (said,) = gateway(tmp_path, "keys", "list", "--json").ok().documents
    assert [(part["period"], part["tokens"]) for part in said["budgets"]] == [("total", 5)]
    assert "secret" not in said
    gateway(tmp_path, "keys", "revoke", "alice").ok()
    assert "revoked 20" in gateway(tmp_path, "keys", "list").ok().out
    gateway(tmp_path, "keys", "revoke", "alice").failed("not-found")


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys",),
        ("keys", "new"),
        ("keys", "list", "alice"),
        ("keys", "revoke", "alice", "--model", "x"),
        ("keys", "revoke", "alice", "--concurrency", "1"),
        ("keys", "new", "a b"),
        ("keys", "new", "a", "--model", ""),
        ("keys", "new", "a", "--budget", "day"),
        ("keys", "new", "a", "--budget", "open:requests=1"),
        ("keys", "new", "a", "--budget", "year:tokens=1"),
        ("keys", "new", "a", "--budget", "day:tokens=-1"),
        ("keys", "new", "a", "--budget", "day:tokens=1,tokens=2"),
        ("keys", "new", "a", "--budget", "day:tokens=1.5"),
        ("keys", "new", "a", "--budget", "day:tokens=999999999G"),
        ("usage", "--since", "yesterday"),
        ("usage", "--csv", "--json"),
        ("usage", "--file", "none"),
        ("costs", "--days", "0"),
    ],
)
def test_what_is_refused_changes_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    gateway(tmp_path, *arguments).failed("usage")
    assert list(tmp_path.iterdir()) == []


def test_money_that_is_none(tmp_path: Path) -> None:
    gateway(tmp_path, "keys", "new", "a", "--budget", "day:money=-1").failed("bad-config")


def test_before_any_use_nothing_is_made(tmp_path: Path) -> None:
    for command in (("keys", "list"), ("usage",), ("usage", "--csv"), ("costs",)):
        gateway(tmp_path, *command).ok()
    assert list(tmp_path.iterdir()) == []


def test_usage_by_origin_is_exact(tmp_path: Path) -> None:
    secret = gateway(tmp_path, "keys", "new", "alice").ok().out.strip()
    many = [spent(number, 2 * number, 3 * number) for number in range(200)]
    theirs = spent(7, 5, 10**9, provider="deepseek", model="deepseek-chat", jurisdiction="CN")
    use(tmp_path, secret, *many, theirs, spent(1, 1, None, model="new"))
    table = tmp_path / "gateway.toml"
    table.write_text('[tariffs]\nCN = "1.25"\n')
    rows = gateway(tmp_path, "usage", "--json", "--file", table).ok().documents
    found = {
        row["model"]: (row["prompt_tokens"], row["completion_tokens"], row["dollars"])
        for row in rows
    }
    assert found == {
        "gpt": (19_900, 39_800, "0.0000597"),
        "deepseek-chat": (7, 5, "1.00"),
        "new": (1, 1, None),
    }
    (chinese,) = [row for row in rows if row["jurisdiction"] == "CN"]
    assert (chinese["dollars_with_factor"], chinese["factor"]) == ("1.25", "1.25")
    shown = gateway(tmp_path, "usage", "--file", table).ok()
    assert "1 request without a known price" in shown.err
    assert shown.out.splitlines()[1].split() == [
        *("deepseek", "deepseek-chat", "CN", "1", "7", "5", "1.00", "1.25")
    ]
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=2)).date().isoformat()
    assert gateway(tmp_path, "usage", "--since", tomorrow, "--json").ok().documents == []


def test_the_table_sums_up_what_came_from_one_origin(tmp_path: Path) -> None:
    """Over all routes and targets, which are rows of their own."""
    secret = gateway(tmp_path, "keys", "new", "alice").ok().out.strip()
    use(tmp_path, secret, spent(10, 20, 10**9), spent(1, 2, 10**9, target="second"))
    assert len(gateway(tmp_path, "usage", "--json").ok().documents) == 2
    (_, row) = gateway(tmp_path, "usage").ok().out.splitlines()
    assert row.split() == ["openai", "gpt", "US", "2", "11", "22", "2.00"]


@pytest.mark.parametrize(
    "evil", ["=1+1", "+1", "-1", "@A1", "\t=1", " =1", "\uff1d1", '"=1', "a,b\n"]
)
def test_csv_runs_no_formula(tmp_path: Path, evil: str) -> None:
    use(tmp_path, None, spent(model=evil, provider=evil), route=evil)
    text = gateway(tmp_path, "usage", "--csv").ok().out
    (head, row) = csv.reader(io.StringIO(text, newline=""))
    assert len(head) == len(row)
    for name in ("model", "provider", "route"):
        cell = row[head.index(name)]
        assert cell.lstrip(" ")[:1] not in set("=+-@\t\r\uff1d")
        assert "\n" not in cell
    assert row[head.index("dollars")] == "0.0000007"


def test_only_what_would_run_is_guarded() -> None:
    assert [guarded(text) for text in ("gpt-5", "", "a=1", "=x")] == ["gpt-5", "", "a=1", "'=x"]


def test_costs_say_from_which_load_owning_is_cheaper(tmp_path: Path) -> None:
    # Hosted $20 a million tokens of answers; the machine costs $3.60 an hour: 50 tokens/s.
    use(tmp_path, None, spent(100, 1000, 2 * 10**7))
    table = tmp_path / "gateway.toml"
    table.write_text(
        '[local.fast]\ndollars-per-hour = "3.60"\ncurve = [[1, 10], [4, 40], [16, 100]]\n'
    )
    (said,) = gateway(tmp_path, "costs", "--json", "--file", table).ok().documents
    assert said["dollars_per_million"] == 20
    assert said["cheaper_from_tokens_per_second"] == 50
    assert said["cheaper_from_load"] == 6  # a sixth of the way from 4 to 16
    assert said["own_is_cheaper"] is False
    assert [round(point["dollars_per_million"], 6) for point in said["curve"]] == [100, 25, 10]
    shown = gateway(tmp_path, "costs", "--file", table).ok().out
    assert "cheaper from 50 tokens/s at all hours on, which are 6 requests at once" in shown


def row(**more: Any) -> LedgerRow:
    values: dict[str, Any] = {
        "day": "2026-11-30",
        "caller": "",
        "route": "fast",
        "target": "t",
        "provider": "openai",
        "model": "m",
        "jurisdiction": "US",
        "certain": True,
        "requests": 1,
        "prompt_tokens": 10,
        "completion_tokens": 1000,
        "money": 2 * 10**7,
        "unpriced": 0,
        "milliseconds": 1,
    }
    return LedgerRow(**(values | more))


def test_a_machine_that_is_too_small() -> None:
    (one,) = route_costs([row(money=10**6)], {"fast": MACHINE}, 86_400)
    assert one.break_even is not None
    assert (one.break_even.load, one.is_own_cheaper) == (None, False)
    (two,) = route_costs([row(completion_tokens=10**9, money=2 * 10**13)], {"fast": MACHINE}, 3600)
    assert two.is_own_cheaper is True


def test_what_is_unknown_stays_unknown() -> None:
    (one,) = route_costs([row(unpriced=1, money=0)], {"fast": MACHINE}, 86_400)
    assert (one.dollars_per_million, one.break_even, one.is_own_cheaper) == (None, None, None)
    rows = [row(), row(provider="local", money=5, completion_tokens=9000)]
    (two,) = route_costs(rows, {}, 100)
    assert (two.local_requests, two.requests, two.money) == (1, 1, 2 * 10**7)
    assert two.average_tokens_per_second == 100
    (three,) = route_costs([], {"idle": MACHINE}, 0)
    assert (three.route, three.dollars_per_million) == ("idle", None)


def test_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    assert list(GATEWAY.checks(tmp_path)) == []
    GatewayAccounts(tmp_path).close()
    UserKeys(tmp_path / "gateway").new("alice")
    assert list(GATEWAY.checks(tmp_path)) == []
    (tmp_path / "gateway" / "keys.json").write_bytes(b"x")
    (tmp_path / "gateway" / "usage.sqlite").unlink()
    (tmp_path / "gateway.toml").write_text('[tariffs]\nCN = "2000"\n')
    found = [one.check for one in GATEWAY.checks(tmp_path)]
    assert found == ["gateway keys", "gateway usage", "gateway.toml"]
