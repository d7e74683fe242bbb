"""A ban is told from a wrong key by the key's own record; the operator hears of it once; and no key
is ever shown.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.features.gateway.routes.file import read_routes
from tests.features.gateway.gateways import gateway
from tests.features.gateway.upstream import Provider, providers

CANARY = "sk-canary-4711-do-not-show"


@pytest.fixture(name="two")
def _two() -> Iterator[list[Provider]]:
    with providers("a", "b") as made:
        yield made


def routes(a: Provider, b: Provider) -> str:
    return f"""
[endpoints.a]
url = "{a.url}"
key-env = "A_KEY"
[endpoints.b]
url = "{b.url}"
[routes.m]
targets = ["a:big", "b:small"]
"""


def test_a_key_that_worked_is_banned(
    two: list[Provider], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    a, b = two
    environ = {"A_KEY": CANARY}
    with gateway(tmp_path, routes(a, b), environ=environ) as caller:
        assert caller.chat().json["outlast"]["target"] == "a:big"
        assert f"Authorization: Bearer {CANARY}" in a.heads[0]
    # The record survives the process.
    with gateway(tmp_path, routes(a, b), environ=environ) as caller:
        a.doing = {"status": 403, "body": json.dumps({"error": {"message": f"key {CANARY}"}})}
        for _ in range(3):
            passed = caller.chat().json["outlast"]["passed"]
            assert passed == [{"target": "a:big", "reason": "banned"}]
    told = [line for line in capfd.readouterr().err.splitlines() if '"fault"' in line]
    assert len(told) == 1
    assert "a key that it took before" in told[0]
    # Another key has a record of its own.
    with gateway(tmp_path, routes(a, b), environ={"A_KEY": "other"}) as caller:
        passed = caller.chat().json["outlast"]["passed"]
        assert passed == [{"target": "a:big", "reason": "key-refused"}]
    assert "its key never worked: check it" in capfd.readouterr().err


def test_no_key_is_shown(
    two: list[Provider], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    a, b = two
    seen: list[bytes] = []
    error = json.dumps({"error": {"message": f"Incorrect API key: {CANARY}"}})
    with gateway(tmp_path, routes(a, b), environ={"A_KEY": CANARY}) as caller:
        for doing in (
            {},
            {"status": 400, "body": error},
            {"status": 401, "body": error},
            {"status": 500, "body": error},
            {"text": f"your key is {CANARY}"},
            {"status": 200, "body": error},
        ):
            for number in range(2):
                a.doing = doing
                b.doing = {"status": 500} if number else {}
                for stream in (False, True):
                    answer = caller.chat(stream=stream)
                    seen += [answer.body, str(answer.headers).encode()]
        seen += [caller.get("/metrics").body, caller.get("/v1/models").body]
    out = capfd.readouterr()
    for text in (b"".join(seen), (out.out + out.err).encode()):
        assert b"canary" not in text
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()
    read = read_routes(tmp_path / "gateway.toml", {"A_KEY": CANARY})
    assert "canary" not in repr(read)


def test_callers_keys_go_nowhere(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    with gateway(tmp_path, routes(a, b), environ={"A_KEY": "k"}) as caller:
        caller.chat(headers={"Authorization": f"Bearer {CANARY}", "X-Api-Key": CANARY})
    assert CANARY not in a.heads[0]
