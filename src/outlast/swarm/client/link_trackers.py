"""Announces the torrent of a link to the link's trackers, and finds its peers there.

libtorrent would ask any address that a tracker's name or redirect leads to (ADR 19).
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.core.closing import Closing
from outlast.core.errors import OutlastError
from outlast.swarm.client.announce import LinkAnnounce, TrackerRules, announce
from outlast.swarm.settings import HostPort
from outlast.swarm.torrent.payload_torrent import truncated
from outlast.swarm.tuning import ClientTuning

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Announced:
    """A torrent: its infohashes of both versions, and the port at which it is exchanged."""

    infohashes: Sequence[bytes]
    port: int


class LinkTrackers(Closing):
    """Announces until it is closed; each tracker has a thread."""

    def __init__(
        self,
        urls: Iterable[str],
        torrent: Announced,
        rules: TrackerRules,
        found: Callable[[Iterable[HostPort]], None],
        tuning: ClientTuning,
    ) -> None:
        """`found` is called with peers, from any thread."""
        peer_id = b"-OL0000-" + os.urandom(12)
        self._said: Final = [
            LinkAnnounce(truncated(infohash), peer_id, torrent.port, 1)
            for infohash in torrent.infohashes
        ]
        self._rules = rules
        self._found = found
        self._tuning = tuning
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, args=(url,), name="tracker", daemon=True)
            for url in list(dict.fromkeys(urls))[: tuning.link_trackers]
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """No peer is found any more. Trackers have a moment to be told of the end."""
        self._over.set()
        until = time.monotonic() + self._tuning.tracker_end_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _keep(self, url: str) -> None:
        pause, knows, event = self._tuning.tracker_again_s, False, "started"
        while not self._over.is_set():
            try:
                wait = max(self._ask(url, event), self._tuning.tracker_least_s)
                pause, knows, event = self._tuning.tracker_again_s, True, ""
            except OutlastError as error:
                _log.debug("tracker %s: %s", url.partition("?")[0], error)
                wait, pause = pause, 2 * pause
            self._over.wait(min(wait, self._tuning.tracker_most_s))
        if knows:
            for said in self._said:
                with contextlib.suppress(OutlastError):
                    seconds = self._tuning.tracker_end_s
                    announce(url, said, self._rules, event="stopped", seconds=seconds)

    def _ask(self, url: str, event: str) -> int:
        """Announces all infohashes; the seconds until the next time."""
        wait = 0
        for said in self._said:
            seconds = self._tuning.tracker_answer_s
            answer = announce(url, said, self._rules, event=event, seconds=seconds)
            wait = max(wait, answer.interval)
            _log.debug("tracker %s names %d peers", url.partition("?")[0], len(answer.peers))
            if answer.peers and not self._over.is_set():
                self._found(answer.peers)
        return wait
