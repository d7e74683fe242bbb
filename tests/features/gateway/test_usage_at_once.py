"""What a gateway has just answered is in the ledger for those who ask, though it writes later."""

import json
from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.features.gateway.test_several_processes import serving
from tests.features.gateway.upstream import providers

ROUTES = """
[endpoints.a]
url = "{url}"
hosted = true
[routes.m]
targets = ["a:big"]
"""


@pytest.mark.parametrize("count", [1, 2])
def test_usage_has_what_was_not_written_yet(tmp_path: Path, count: int) -> None:
    with providers("a") as (provider,):
        path = tmp_path / "archive" / "gateway.toml"
        path.parent.mkdir()
        path.write_text(ROUTES.format(url=provider.url))
        with serving(tmp_path, count) as (caller, _):
            for asked in range(1, 4):
                assert caller.chat().status == 200
                told = inside("gateway", "usage", "--json", home=tmp_path).ok()
                rows = [json.loads(line) for line in told.out.splitlines()]
                assert sum(row["requests"] for row in rows) == asked
