"""Keys of the gateway's users."""

import json
from pathlib import Path

import pytest

from outlast.core.errors import (
    BadKeyError,
    DamagedRecordError,
    KeyRefusedError,
    NotFoundError,
    UsageError,
)
from outlast.features.gateway.accounts.keys import UserKeys
from tests.features.gateway.accounts.kit import by_day


@pytest.fixture
def keys(tmp_path: Path) -> UserKeys:
    return UserKeys(tmp_path)


def test_a_secret_is_shown_once_and_not_kept(keys: UserKeys) -> None:
    row, secret = keys.new("alice", (), (by_day(tokens=5),))
    assert secret.encode() not in keys.path.read_bytes()
    assert secret.rpartition("-")[2] not in keys.path.read_text()
    assert keys.path.stat().st_mode & 0o777 == 0o600
    found = UserKeys(keys.path.parent).check(secret)
    assert (found.key, found.name, found.models) == (row.id, "alice", ("*",))
    assert [(route, limit.tokens) for route, limit in found.limits] == [("*", 5)]


def test_without_keys_none_is_asked_for(keys: UserKeys) -> None:
    assert keys.are_none
    assert keys.check(None).key == keys.check("sk-anything").key == ""


@pytest.mark.parametrize("wrong", ["last", "first", "other", "case", "long", "none", "surrogate"])
def test_wrong_secrets_are_refused_and_not_repeated(keys: UserKeys, wrong: str) -> None:
    row, secret = keys.new("alice")
    _, other = keys.new("bob")
    given = {
        "last": secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        "first": secret.replace(row.id, "0" * 12),
        "other": secret.replace(row.id, other.split("-")[1]),
        "case": secret.upper(),
        "long": secret + "x" * 10**6,
        "none": None,
        "surrogate": "\ud800" * 60,
    }[wrong]
    with pytest.raises(KeyRefusedError) as refused:
        keys.check(given)
    assert secret not in str(refused.value) + refused.value.hint
    assert keys.check(secret).name == "alice"


def test_a_revoked_key_is_refused_at_once_also_elsewhere(keys: UserKeys) -> None:
    _, secret = keys.new("alice")
    elsewhere = UserKeys(keys.path.parent)
    assert elsewhere.check(secret).name == "alice"
    assert keys.revoke("alice").revoked
    for one in (keys, elsewhere):
        with pytest.raises(KeyRefusedError, match="revoked"):
            one.check(secret)
    assert not elsewhere.are_none  # the last key is gone: the gateway is not open to all
    with pytest.raises(KeyRefusedError):
        elsewhere.check(None)
    with pytest.raises(NotFoundError):
        keys.revoke("alice")
    keys.new("alice")  # the name is free again


def test_budgets_change_and_the_secret_stays(keys: UserKeys) -> None:
    row, secret = keys.new("alice")
    keys.change_limits(row.id, (by_day(requests=1),))
    assert [limit.requests for _, limit in keys.check(secret).limits] == [1]


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\n", "a" * 65, "../x"])
def test_what_is_no_name(keys: UserKeys, name: str) -> None:
    with pytest.raises(UsageError):
        keys.new(name)


def test_a_name_is_given_once(keys: UserKeys) -> None:
    keys.new("alice")
    with pytest.raises(UsageError, match="already"):
        keys.new("alice")


def test_asking_for_what_is_not_there_makes_nothing(keys: UserKeys) -> None:
    with pytest.raises(NotFoundError):
        keys.revoke("alice")
    assert keys.are_none
    assert list(keys.path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-20],
        lambda _: b"null",
        lambda data: data.replace(b'"v": 1', b'"v": 2'),
        lambda data: data.replace(b'"alice"', b'"al ice"'),
        lambda data: data.replace(b'"models"', b'"model"'),
        lambda _: b"[" * 100_000,
        lambda data: json.dumps({"v": 1, "keys": 2 * json.loads(data)["keys"]}).encode(),
        lambda _: b" " * (17 << 20),
    ],
)
def test_a_damaged_file_lets_no_key_in(keys: UserKeys, damage: object) -> None:
    _, secret = keys.new("alice")
    data = keys.path.read_bytes()
    assert callable(damage)
    keys.path.write_bytes(damage(data))
    with pytest.raises(KeyRefusedError, match="cannot be read"):
        keys.check(secret)
    with pytest.raises(KeyRefusedError):
        keys.check(None)
    with pytest.raises(DamagedRecordError):
        keys.new("bob")
    keys.path.write_bytes(data)
    assert keys.check(secret).name == "alice"


def test_a_lost_file_lets_no_key_in(keys: UserKeys) -> None:
    _, secret = keys.new("alice")
    keys.check(secret)
    keys.path.unlink()
    for given in (secret, None):
        with pytest.raises(KeyRefusedError):
            keys.check(given)


def test_a_file_that_others_can_read_is_refused(keys: UserKeys) -> None:
    _, secret = keys.new("alice")
    keys.path.chmod(0o644)
    with pytest.raises(KeyRefusedError):
        keys.check(secret)
    with pytest.raises(BadKeyError, match="0644"):
        keys.all()
