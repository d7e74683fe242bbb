"""The alerts of a libtorrent session: a socket pair wakes the one thread that reads them."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable

import libtorrent as lt

from outlast.core.closing import Closing


class Alerts(Closing):
    """Calls `take` with each alert of `session`, and `tick` at least every `seconds`, from one
    thread. An exception of either goes to `threading.excepthook`, and the alerts go on.
    """

    def __init__(
        self,
        session: lt.session,
        take: Callable[[lt.alert], None],
        *,
        tick: Callable[[], None] | None = None,
        seconds: float | None = None,
    ) -> None:
        self._session, self._take, self._tick, self._seconds = session, take, tick, seconds
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._closed = False
        session.set_alert_fd(self._theirs.fileno())
        self._thread = threading.Thread(target=self._listen, name="swarm", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread: `take` is not called any more."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            self._theirs.send(b"x")
        self._thread.join()
        self._session.set_alert_fd(-1)
        del self._session
        self._ours.close()
        self._theirs.close()

    def _listen(self) -> None:
        while not self._closed:
            select.select([self._ours], [], [], self._seconds)
            with contextlib.suppress(BlockingIOError):
                self._ours.recv(4096)
            for alert in self._session.pop_alerts():
                self._guarded(lambda alert=alert: self._take(alert))  # type: ignore[misc]
            if self._tick is not None:
                self._guarded(self._tick)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a bug; the other alerts are not lost
            threading.excepthook(threading.ExceptHookArgs((type(error), error, None, self._thread)))
