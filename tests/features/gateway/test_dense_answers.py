"""A provider's answer that would take far more memory than its bytes do is not parsed."""

import pytest

from outlast.features.gateway.dialects import strict_json
from outlast.features.gateway.serving import whole
from outlast.features.gateway.upstream.faults import Fault, FaultKind


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'{"":0},'])
def test_it_is_malformed(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "CONTAINERS", 1000)
    assert whole._object(b'{"choices":[' + unit * 990 + b"0]}")

    def parse(_body: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr(whole, "_decode", parse)
    with pytest.raises(Fault) as fault:
        whole._object(b'{"choices":[' + unit * 1000 + b"0]}")
    assert fault.value.kind is FaultKind.MALFORMED
