"""What a pull waits for, beside its progress."""

import io
import sys

import pytest

from outlast.cli.screen.render import Screen
from outlast.core.events import FileWaiting, PeerPassedOver, Planned, Progress

PLANNED = Planned("pull", "org/model", 2, 1000)
WAITING = FileWaiting("a.bin", "10.0.0.2, which fetches it since 40 s", others=1)
TEXT = "a.bin and 1 more: waiting for 10.0.0.2, which fetches it since 40 s"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def wait(screen: Screen) -> str:
    """What is said beside the bar."""
    assert screen._bars is not None
    return str(screen._bars.tasks[0].fields["wait"])


def test_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(as_json=False, quiet=False) as screen:
        screen.emit(PLANNED)
        screen.emit(WAITING)
    assert capsys.readouterr().err.splitlines()[1:] == [TEXT]


def test_beside_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until something comes."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Screen(as_json=False, quiet=False) as screen:
        screen.emit(PLANNED)
        assert wait(screen) == ""
        screen.emit(WAITING)
        assert wait(screen) == TEXT
        screen.emit(Progress("b.bin", 10, "http://hub"))
        assert wait(screen) == ""


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(as_json=False, quiet=True) as screen:
        screen.emit(PLANNED)
        screen.emit(WAITING)
    assert capsys.readouterr().err == ""


def test_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(as_json=True, quiet=False) as screen:
        screen.emit(WAITING)
    assert capsys.readouterr().out == (
        '{"type": "file-waiting", "v": 1, "path": "a.bin",'
        ' "waits_for": "10.0.0.2, which fetches it since 40 s", "others": 1}\n'
    )


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            PeerPassedOver("a.bin", "10.0.0.2", "fetches"),
            "a.bin: 10.0.0.2 says that it fetches it, but nothing came: asking the hub",
        ),
        (
            PeerPassedOver("a.bin", "10.0.0.2", "has", others=99),
            "a.bin: 10.0.0.2 and 99 others say that they have it, but nothing came: asking the hub",
        ),
    ],
)
def test_who_is_passed_over(
    event: PeerPassedOver, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Screen(as_json=False, quiet=False) as screen:
        screen.emit(event)
    assert capsys.readouterr().err.splitlines() == [text]
