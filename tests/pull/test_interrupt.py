"""Ctrl-C: one line, exit status 130, soon; and the same command resumes."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.call import until
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull.kit import MIB, check_archive, check_pulled, file_requests, sent
from tests.warm.calls import finish, outlast, start

LARGE = noise(4, 40 * MIB)
_SOON = 10.0
"""A hang is longer than this on any machine; the waits that must not be sat out are longer too."""


@pytest.fixture
def large(hub: HubSim) -> HubSim:
    HubRepo(hub.root, "org/large").commit({"large.bin": LARGE, "config.json": b"{}"})
    return hub


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_mid_transfer(large: HubSim, tmp_path: Path, number: signal.Signals) -> None:
    large.set_faults([{"action": "slow", "rate": 3 * MIB, "file": "large.bin"}])
    arguments = ("pull", "org/large", "--from", large.url)
    process = start(*arguments, home=tmp_path)
    until(lambda: sent(large, "large.bin") > 14 * MIB, "the transfer is under way")
    process.send_signal(number)
    call = finish(process, _SOON)
    assert call.code == 130
    assert "interrupted" in call.failed("cancelled")
    assert "resumes" in call.err
    before = sent(large, "large.bin")
    large.set_faults([])
    outlast(*arguments, home=tmp_path).ok()
    check_pulled(tmp_path / "archive", {"large.bin": LARGE, "config.json": b"{}"}, "org/large")
    again = sent(large, "large.bin") - before
    assert before + again <= len(LARGE) + 16 * MIB
    assert again < len(LARGE)


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "delay", "seconds": 60, "what": "info"},
        {"action": "stall", "at": 3, "what": "info"},
        {"action": "status", "status": 429, "retry_after": 90, "what": "info"},
        {"action": "stall", "at": 3, "what": "resolve"},
        {"action": "status", "status": 429, "retry_after": 90, "what": "resolve"},
        {"action": "stall", "at": 3, "what": "refs"},
    ],
    ids=lambda fault: f"{fault['action']} {fault['what']}",
)
def test_while_it_waits(large: HubSim, tmp_path: Path, fault: dict[str, Any]) -> None:
    repo = HubRepo(large.root, "org/large")
    repo.set_ref("next", repo.head.sha)
    large.set_faults([fault])
    process = start("pull", "org/large@next", "--from", large.url, home=tmp_path)
    until(lambda: large.fault_hits()[0][1] > 0, "the fault was met")
    process.send_signal(signal.SIGINT)
    finish(process, _SOON).failed("cancelled")
    if (tmp_path / "archive").exists():
        check_archive(tmp_path / "archive")


def test_a_second_one_ends_it_at_once(large: HubSim, tmp_path: Path) -> None:
    large.set_faults([{"action": "stall", "at": 3, "what": "info"}])
    process = start("pull", "org/large", "--from", large.url, home=tmp_path)
    until(lambda: large.fault_hits()[0][1] > 0, "the fault was met")
    for _ in range(2):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    call = finish(process, _SOON)
    assert call.code in {130, -signal.SIGINT}
    assert "Traceback" not in call.err


def test_in_json_the_last_line_says_so(large: HubSim, tmp_path: Path) -> None:
    large.set_faults([{"action": "stall", "at": MIB, "file": "large.bin"}])
    process = start("pull", "org/large", "--from", large.url, "--json", home=tmp_path)
    until(lambda: len(file_requests(large)) > 2, "the transfer is under way")
    process.send_signal(signal.SIGINT)
    call = finish(process, _SOON)
    call.failed("cancelled")
    assert call.result["type"] == "error"
    assert call.result["code"] == "cancelled"


@pytest.mark.parametrize("command", ["verify", "add", "adopt"])
def test_other_commands_too(large: HubSim, tmp_path: Path, command: str) -> None:
    """The archive is sound whenever they end, and they end in one of two ways."""
    outlast("pull", "org/large", "--from", large.url, home=tmp_path).ok()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "large.bin").write_bytes(LARGE[::-1])
    arguments = {
        "verify": ["verify"],
        "add": ["add", str(folder), "--as", "me/mine"],
        "adopt": ["adopt", str(tmp_path / "archive" / "links" / "hub"), "--copy"],
    }[command]
    outlast("link", "org/large", home=tmp_path).ok()
    process = start(*arguments, "--json", home=tmp_path)
    process.stdout.readline()  # "planned": signals are caught from here on
    process.send_signal(signal.SIGINT)
    call = finish(process, _SOON)
    if call.code != 0:
        call.failed("cancelled")
    check_archive(tmp_path / "archive")
    outlast(*arguments, home=tmp_path).ok()
