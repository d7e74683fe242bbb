"""Alerts: what they say, and that what hubs write goes out as text and as nothing else."""

import http.server
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from outlast.cli.config.section import ConfigSection
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import BadConfigError, Cancelled, PolicyError, TransientError
from outlast.core.events import WatchNoticed
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.memory import Memory
from outlast.features.watch.settings import WatchSection, WatchSettings, read_settings
from outlast.features.watch.telling.alerts import NOTHING, Alert, HeldCommits, alert_of, detail
from outlast.features.watch.telling.channels import Mail, Webhook, document, message
from outlast.features.watch.telling.tell import Telling, held_of, open_channels
from outlast.server.http.metrics import Metrics
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from tests.serve.peers import archive_files

GOLDEN = Path(__file__).parents[2] / "golden" / "alerts.txt"
REPO = RepoId.parse("org/name")
HUB = "https://hub.example"
WHEN = "2030-01-02T03:04:05+00:00"
OLD, NEW = "a" * 40, "b" * 40
ALL = HeldCommits(frozenset({OLD}))
PART = HeldCommits(frozenset(), frozenset({NEW}))


def change(kind: ChangeKind, **more: Any) -> Change:
    return replace(Change(kind, HUB, WHEN, REPO), **more)


CHANGES = [
    change(ChangeKind.APPEARED),
    change(ChangeKind.NEW_REF, ref="v2", after=NEW),
    change(ChangeKind.MOVED, ref="main", before=OLD, after=NEW),
    change(ChangeKind.FORCE_PUSHED, ref="main", before=OLD, after=NEW),
    change(ChangeKind.REF_DELETED, ref="it's", before=OLD),
    change(ChangeKind.FILES_DROPPED, before=OLD, after=NEW, files=("a.bin", "b.bin", "c.bin")),
    change(ChangeKind.RELICENSED, before="apache-2.0", after="other", diff="-free\n+not free\n"),
    change(ChangeKind.CARD_CHANGED, diff="\n".join(f"+{n}" for n in range(30))),
    change(ChangeKind.GATED),
    change(ChangeKind.UNGATED),
    change(ChangeKind.MADE_PRIVATE),
    change(ChangeKind.RENAMED, before="org/name", after="org/other"),
    change(ChangeKind.TRANSFERRED, before="org/name", after="new/name"),
    change(ChangeKind.REFUSED, reason="401"),
    change(ChangeKind.DELETED, reason="Repository not found"),
    change(ChangeKind.ACCOUNT_GONE),
    change(ChangeKind.BLOCKED, reason="By order."),
    change(ChangeKind.RETURNED),
    change(ChangeKind.HUB_DARK, repo=None, reason="connection refused"),
    change(ChangeKind.HUB_BACK, repo=None),
]


def test_what_alerts_say() -> None:
    """Written anew with ``UPDATE_GOLDEN=1``; look at the difference."""
    text = ""
    for name, held in (("all", ALL), ("a part", PART), ("nothing", NOTHING)):
        for one in CHANGES:
            text += f"--- {one.kind}, {name} is held\n{alert_of(one, held).text()}"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_each_kind_has_its_words() -> None:
    assert {one.kind for one in CHANGES} == set(ChangeKind)
    for one in CHANGES:
        assert detail(one).count("\n") <= one.diff.count("\n")
        assert detail(replace(one, reason="x" * 500)).endswith("x")


def test_a_dataset_that_was_renamed() -> None:
    one = change(ChangeKind.RENAMED, repo=RepoId.parse("datasets/org/d"), after="org/e")
    assert alert_of(one, NOTHING).command == "outlast follow datasets/org/e"


HOSTILE = "x\r\nBcc: eve@evil.example\r\n\r\n.\nQUIT\x1b[31m\u2028\ud800"


def hostile() -> Alert:
    return alert_of(
        change(ChangeKind.RENAMED, after=HOSTILE, reason=HOSTILE, files=(HOSTILE,), diff=HOSTILE),
        NOTHING,
    )


# E-mail


def test_a_mail_has_the_headers_that_it_should() -> None:
    data = message([hostile(), hostile()], ["me@example.org", "you@example.org"]).as_bytes()
    assert b"\r" not in data
    assert data.isascii()
    read = message_from_bytes(data, policy=default)
    assert {name.lower() for name in read.keys()} == {  # noqa: SIM118 - not a dict
        *("to", "subject", "auto-submitted", "mime-version"),
        *("content-type", "content-transfer-encoding"),
    }
    assert read["To"] == "me@example.org, you@example.org"
    assert read["Subject"].startswith("outlast: org/name was renamed to x\\r\\nBcc: eve")
    assert read["Subject"].endswith("(and 1 more)")
    assert "the hub:    x\\r\\nBcc:" in read.get_content()


def program(folder: Path, body: str) -> str:
    path = folder / "sendmail"
    path.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\nhere = pathlib.Path({str(folder)!r})\n{body}\n"
    )
    path.chmod(0o755)
    return str(path)


def test_mail_goes_to_the_program(tmp_path: Path) -> None:
    body = "(here / 'args').write_text(' '.join(sys.argv[1:]))\n"
    body += "(here / 'mail').write_bytes(sys.stdin.buffer.read())"
    Mail(("me@example.org",), program(tmp_path, body)).send([hostile()])
    assert (tmp_path / "args").read_text() == "-t -i"
    assert b"To: me@example.org\n" in (tmp_path / "mail").read_bytes()


def test_mail_that_fails(tmp_path: Path) -> None:
    failing = program(tmp_path, "sys.exit('no\\nroute ' + 'x' * 100_000)")
    with pytest.raises(TransientError, match=r"exit 1\): no\\nroute x") as caught:
        Mail(("me@example.org",), failing).send([hostile()])
    assert len(str(caught.value)) < 700
    with pytest.raises(BadConfigError, match="cannot run"):
        Mail(("me@example.org",), str(tmp_path / "none")).send([hostile()])


# The webhook


class Hook(http.server.ThreadingHTTPServer):
    """Answers each request with the next of `answers`, then with 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.got: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?key=s3cret"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hook = self.server
        assert isinstance(hook, Hook)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hook.got.append((self.path, json.loads(body)))
        status, headers = hook.answers.pop(0) if hook.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def webhook(hook: Hook, waits: list[float]) -> Iterator[Webhook]:
    with HttpClient(HttpSettings()) as client:
        yield Webhook(client, hook.url, waits.append)


def test_a_webhook_gets_json(hook: Hook, webhook: Webhook) -> None:
    alerts = [alert_of(CHANGES[3], ALL), hostile()]
    webhook.send(alerts)
    ((path, body),) = hook.got
    assert path == "/hook?key=s3cret"
    assert body == json.loads(json.dumps(document(alerts)))
    assert body["text"].startswith("org/name lost the history of main (aaaaaaaaaaaa →")
    first, second = body["changes"]
    assert (first["what"], first["repo"], first["withdraws"]) == ("force-pushed", "org/name", True)
    assert first["command"] == f"outlast show org/name@{OLD}"
    assert second["after"].startswith("x\r\nBcc")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_webhook_is_tried_again(
    hook: Hook, webhook: Webhook, waits: list[float], status: int
) -> None:
    hook.answers = [(status, {}), (status, {"Retry-After": "7"})]
    webhook.send([hostile()])
    assert waits == [1.0, 7.0]
    assert len(hook.got) == 3


def test_a_webhook_that_stays_down(hook: Hook, webhook: Webhook, waits: list[float]) -> None:
    hook.answers = [(503, {"Retry-After": "99999"})] * 9
    with pytest.raises(TransientError, match="HTTP 503") as caught:
        webhook.send([hostile()])
    assert waits == [60.0, 60.0]
    assert len(hook.got) == 3
    assert "s3cret" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(hook: Hook, webhook: Webhook, status: int) -> None:
    hook.answers = [(status, {"Location": "/other"})]
    with pytest.raises(PolicyError, match="redirects"):
        webhook.send([hostile()])
    assert len(hook.got) == 1


def test_a_webhook_that_refuses_is_not_asked_again(hook: Hook, webhook: Webhook) -> None:
    hook.answers = [(403, {})]
    with pytest.raises(PolicyError, match="HTTP 403") as caught:
        webhook.send([hostile()])
    assert len(hook.got) == 1
    assert "s3cret" not in str(caught.value)


def test_who_waits_can_be_interrupted(hook: Hook, webhook: Webhook) -> None:
    cancel = Cancel()
    cancel.set()
    hook.answers = [(503, {})]
    with pytest.raises(Cancelled):
        replace(webhook, wait=cancel.wait).send([hostile()])
    assert len(hook.got) == 1


# Settings


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"webhook": "http://chat.example/x"}, "in the clear"),
        ({"webhook": "ftp://chat.example/x"}, "not a URL"),
        ({"webhook": "https://me:s3cret@chat.example/x"}, "password"),
        ({"webhook": "https://chat.example/x y"}, "not a URL"),
        ({"webhook": "https://[::1"}, "not a URL"),
        ({"mail-to": "me"}, "not an e-mail address"),
        ({"mail-to": "me@example.org\nBcc: x@y"}, "not an e-mail address"),
        ({"mail-to": [f"me@{n}" for n in range(21)]}, "more than 20"),
        ({"lists": "models.txt"}, "not an absolute path"),
        ({"lists": [f"/{n}" for n in range(101)]}, "more than 100"),
        ({"every": 0}, "hours"),
        ({"requests-per-day": 0}, "requests"),
        ({"evry": 1}, "unknown key"),
    ],
)
def test_settings_that_are_wrong(table: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfigError, match=says) as caught:
        read_settings(table)
    assert "s3cret" not in str(caught.value)
    assert "[watch]" in str(caught.value)


def test_settings_that_are_right() -> None:
    assert issubclass(WatchSection, ConfigSection)
    assert read_settings({}) == WatchSettings()
    for url in ("http://localhost/x", "http://127.0.0.1:1/x", "http://[::1]/x", "https://h/x?k=v"):
        assert read_settings({"webhook": url}).webhook == url
    url = "http://chat.example/x"
    assert read_settings({"webhook": url, "webhook-plain": True}).webhook == url
    found = read_settings({"every": 0.5, "requests-per-day": 7, "lists": "/a", "mail-to": "a@b.c"})
    assert found == WatchSettings((Path("/a"),), 1800.0, 7, mail_to=("a@b.c",))


# Together


class Spy:
    """A channel that fails when it should."""

    name = "spy"

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.down = False

    def send(self, alerts: Sequence[Alert]) -> None:
        if self.down:
            raise TransientError("down")
        self.sent.append([alert.held for alert in alerts])


def test_what_is_told_says_what_is_held(tmp_path: Path) -> None:
    with Archive(tmp_path / "archive", create=True) as archive:
        revision = archive_files(archive, RepoId.parse("Org/Name"), {"a": b"1"})
        spy = Spy()
        Telling(spy, archive).tell([CHANGES[14], CHANGES[18]])
        assert spy.sent == [["all files of 1 commit", ""]]
        assert held_of(archive, [REPO]) == {REPO: HeldCommits(frozenset({revision.id.hex}))}
        assert held_of(archive, []) == {}


def test_the_channels_of_the_settings(hook: Hook, tmp_path: Path) -> None:
    body = "(here / 'mail').write_bytes(sys.stdin.buffer.read())"
    settings = WatchSettings(
        webhook=hook.url, mail_to=("me@example.org",), sendmail=program(tmp_path, body)
    )
    home = tmp_path / "archive"
    with (
        Archive(home, create=True) as archive,
        open_channels(settings, HttpSettings(), archive, Control()) as channels,
        Memory.open(home) as memory,
    ):
        assert [channel.name for channel in channels] == ["webhook", "mail"]
        for channel in channels:
            channel.tell(CHANGES[:2])
        assert not list(memory.pending("webhook"))
    assert len(hook.got) == 1
    assert b"(and 1 more)" in (tmp_path / "mail").read_bytes()
    with (
        Archive(home) as archive,
        open_channels(WatchSettings(), HttpSettings(), archive, Control()) as channels,
    ):
        assert channels == ()


def test_changes_are_counted() -> None:
    metrics = Metrics()
    for kind in ("deleted", "deleted", "gated"):
        metrics.observe(WatchNoticed(kind, HUB, "org/name", "", "", "", "", WHEN))
    text = metrics.text().decode()
    assert 'outlast_watch_changes_total{kind="deleted"} 2.0\n' in text
    assert 'outlast_watch_changes_total{kind="gated"} 1.0\n' in text
