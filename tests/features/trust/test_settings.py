"""The section [trust]."""

from pathlib import Path

import pytest

from outlast.core.errors import BadConfigError
from outlast.features.trust.feature import TRUST, gate
from outlast.features.trust.settings import TrustSettings


def test_what_it_says() -> None:
    assert TRUST.settings({}) == TrustSettings()
    said = TRUST.settings({"rules": "/etc/r.cedar", "mode": "report", "labels": "/etc/l.toml"})
    assert said == TrustSettings(Path("/etc/r.cedar"), reports=True, labels=Path("/etc/l.toml"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"mode": "off"}, "not a mode: 'off'"),
        ({"rules": "rules.cedar"}, "not an absolute path"),
        ({"rules": ""}, "not an absolute path: ''"),
        ({"publishers": ""}, "not an absolute path: ''"),
        ({"rules": "/a\0b"}, "not an absolute path"),
        ({"publishers": 5}, "not a text"),
        ({"rule": "/a"}, "unknown key 'rule'"),
    ],
)
def test_what_is_wrong(table: dict[str, object], said: str) -> None:
    with pytest.raises(BadConfigError, match=r"\[trust\]") as caught:
        TRUST.settings(table)
    assert said in str(caught.value)


def test_without_rules_there_is_no_gate(tmp_path: Path) -> None:
    assert gate(tmp_path, TrustSettings()) is None
    assert gate(tmp_path, TrustSettings(rules=tmp_path / "none.cedar")) is not None
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "rules.cedar").write_text("")
    assert gate(tmp_path, TrustSettings()) is not None
