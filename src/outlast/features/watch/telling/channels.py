"""Where alerts go: a webhook, and e-mail through the system's own program."""

import email.policy
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Final, Protocol

from outlast.core.addresses import host_of
from outlast.core.errors import (
    BadConfigError,
    PolicyError,
    TransientError,
    UnreachableError,
    one_line,
)
from outlast.features.watch.telling.alerts import Alert
from outlast.sources.http import HttpClient
from outlast.sources.statuses import retry_after

_SECONDS: Final = 20.0
"""That a webhook may take to answer."""
_ANSWER: Final = 64 << 10
"""Bytes of its answer that are read."""
_PAUSES: Final = (1.0, 4.0)
"""Seconds before each further try. A webhook that is down gets the same again in the next run."""
_LONGEST: Final = 60.0
"""Seconds that a webhook may ask to wait."""
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_DIFF: Final = 4000
"""Characters of a diff that a webhook gets."""
_MAIL_SECONDS: Final = 120.0
_SAID: Final = 300
_POLICY: Final = email.policy.SMTP.clone(linesep="\n", cte_type="7bit")


class Sender(Protocol):
    """A way to tell people. `name` is the same from run to run: what was told by it is noted."""

    @property
    def name(self) -> str: ...

    def send(self, alerts: Sequence[Alert]) -> None:
        """Tells some alerts at once. Raises an :class:`~outlast.core.errors.OutlastError` where it
        is not known that they arrived.
        """


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts alerts as JSON. Redirects are not followed: what is told goes to one host alone."""

    http: HttpClient
    url: str
    wait: Callable[[float], None]
    name: str = "webhook"

    def send(self, alerts: Sequence[Alert]) -> None:
        body = json.dumps(document(alerts)).encode()
        for pause in _PAUSES:
            try:
                self._post(body)
            except TransientError as error:
                if not error.again:
                    raise
                self.wait(min(error.retry_after or pause, _LONGEST))
            else:
                return
        self._post(body)

    def _post(self, body: bytes) -> None:
        host = host_of(self.url)
        with self.http.ask(self.url, body=body, timeout=_SECONDS) as response:
            status = response.status
            if 200 <= status < 300:
                return
            if status in _AGAIN:
                raise UnreachableError(
                    f"the webhook at {host} answers HTTP {status}",
                    retry_after=retry_after(response.headers),
                )
            if 300 <= status < 400:
                raise PolicyError(
                    f"the webhook at {host} redirects: that is not followed",
                    hint="set the setting 'webhook' to the URL that it redirects to",
                )
            said = response.read_all(_ANSWER, _SECONDS).decode(errors="replace")
            raise PolicyError(
                one_line(f"the webhook at {host} refuses alerts (HTTP {status}): {said}", _SAID),
                hint="check the setting 'webhook' of [watch]",
            )


def document(alerts: Sequence[Alert]) -> dict[str, Any]:
    """What a webhook gets. Chats show its `text`."""
    return {
        "outlast": 1,
        "type": "watch",
        "text": "\n".join(alert.text() for alert in alerts),
        "changes": [_change(alert) for alert in alerts],
    }


def _change(alert: Alert) -> dict[str, Any]:
    change = alert.change
    return {
        "when": change.when,
        "hub": change.hub,
        "repo": None if change.repo is None else str(change.repo),
        "what": change.kind,
        "withdraws": change.kind.withdraws,
        "ref": change.ref,
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
        "files": list(change.files),
        "diff": change.diff[:_DIFF],
        "held": alert.held,
        "command": alert.command,
    }


@dataclass(frozen=True, slots=True)
class Mail:
    """Hands e-mail to ``sendmail -t``, as every mail system of Unix has it."""

    to: tuple[str, ...]
    program: str
    name: str = "mail"

    def send(self, alerts: Sequence[Alert]) -> None:
        with tempfile.TemporaryFile() as said:
            try:
                done = subprocess.run(
                    [self.program, "-t", "-i"],
                    input=message(alerts, self.to).as_bytes(),
                    stdout=said,
                    stderr=said,
                    timeout=_MAIL_SECONDS,
                    check=False,
                )
            except OSError as error:
                raise BadConfigError(
                    f"cannot run {self.program}: {error.strerror}",
                    hint="install a mail system, or set 'sendmail' of [watch]",
                ) from error
            except subprocess.TimeoutExpired:
                raise TransientError(f"{self.program} did not end") from None
            said.seek(0)
            text = said.read(_SAID).decode(errors="replace").strip()
        if done.returncode:
            raise TransientError(
                one_line(f"{self.program} failed (exit {done.returncode}): {text}"),
                hint="alerts are sent again in the next run",
            )


def message(alerts: Sequence[Alert], to: Sequence[str]) -> EmailMessage:
    """The mail. Names and reasons come from hubs: none of them makes a header of its own."""
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    made = EmailMessage(policy=_POLICY)
    made["To"] = ", ".join(to)
    made["Subject"] = one_line(f"outlast: {alerts[0].subject}{more}")
    made["Auto-Submitted"] = "auto-generated"
    made.set_content("\n".join(alert.text() for alert in alerts), cte="quoted-printable")
    return made
