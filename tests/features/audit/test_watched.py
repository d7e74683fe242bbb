"""The state of `audit watch`: what is not itself is refused, and audits add up."""

from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.errors import MalformedError, UsageError
from outlast.features.audit.evidence import AuditFinding, Verdict
from outlast.features.audit.watched import WatchedEndpoint, begun, read_state, write_state
from tests.features.audit.sample_report import sample_report

WHERE = ("https://api.example/v1", "m", "1" * 64, 0.05)


def after(state: WatchedEndpoint, off: float, verdict: Verdict | None = None) -> WatchedEndpoint:
    """One more audit, of an endpoint that is `off` nats off."""
    found = sample_report(off).to_json()
    said = found["finding"]
    finding = AuditFinding(verdict or Verdict(said["verdict"]), "", said["statistic"])
    finding = replace(finding, p_value=said["p_value"], floor=said["floor"])
    return state.after(finding, found)


@pytest.fixture
def state() -> WatchedEndpoint:
    return after(begun(*WHERE), 0)


def test_honest_audits_raise_no_alarm_and_a_changed_one_does(state: WatchedEndpoint) -> None:
    for _ in range(30):
        state = after(state, 0)
    assert (state.rounds, state.alarmed) == (31, False)
    for _ in range(3):
        state = after(state, 0.4)
    assert state.alarmed
    for _ in range(200):
        state = after(state, 0)
    assert state.alarmed, "an alarm stays"
    assert len(state.recent) == 100


def test_an_untestable_audit_counts_for_nothing(state: WatchedEndpoint) -> None:
    then = after(state, 0.4, Verdict.UNTESTABLE)
    assert (then.wealth, then.highest) == (state.wealth, state.highest)
    assert (then.rounds, then.untestable) == (2, 1)


def test_it_is_read_as_it_was_written(tmp_path: Path, state: WatchedEndpoint) -> None:
    path = tmp_path / "state.json"
    assert read_state(path) is None
    for one in (begun(*WHERE), state, after(state, 0.4)):
        write_state(path, one)
        assert read_state(path) == one
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_flipped_bit_is_read_in_silence(tmp_path: Path, state: WatchedEndpoint) -> None:
    path = tmp_path / "state.json"
    write_state(path, state)
    data = path.read_bytes()
    for at in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(MalformedError, match="damaged"):
            read_state(path)


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b'{"state": 1, "sha256": ""}'])
def test_what_is_no_state_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(data)
    with pytest.raises(MalformedError):
        read_state(path)


@pytest.mark.parametrize("place", range(4))
def test_a_state_is_about_one_endpoint(state: WatchedEndpoint, place: int) -> None:
    state.require(*WHERE)
    other = [*WHERE]
    other[place] = 0.01 if place == 3 else "other"
    with pytest.raises(UsageError, match="is about"):
        state.require(*other)  # type: ignore[arg-type]
