"""The tracker in every node: a query in, a reply out. The caller does the transport."""

import logging
import time
from collections.abc import Callable

from outlast.swarm.tracker.state import Swarms, peer_of
from outlast.swarm.tracker.wire import failure, parse_announce, parse_scrape, reply, scrape_reply

_log = logging.getLogger(__name__)


class Tracker:
    """Answers BitTorrent clients; neither raises nor blocks, whatever they ask. Thread-safe.
    `query` is the part behind the `?` as it was sent, `address` the asker's, as text.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._swarms = Swarms()

    def announce(
        self, query: bytes | str, address: str, *, trusted: bool = False, host: str = ""
    ) -> bytes:
        """`trusted` and `host` are as in :meth:`Swarms.announce`."""
        asked = parse_announce(query)
        if isinstance(asked, str):
            _log.debug("an announce from %s was refused: %s", address, asked)
            return failure(asked)
        try:
            peer = peer_of(address, asked.port)
            here = peer_of(host, 0)[0] if host else ""
        except ValueError:
            return failure("peers have addresses of IPv4 or IPv6")
        return reply(
            self._swarms.announce(
                asked.infohash,
                peer,
                left=asked.left,
                event=asked.event,
                numwant=asked.numwant,
                now=self._clock(),
                trusted=trusted,
                host=here,
            )
        )

    def scrape(self, query: bytes | str, address: str) -> bytes:
        """Every client may ask; `address` changes nothing."""
        del address
        asked = parse_scrape(query)
        if isinstance(asked, str):
            return failure(asked)
        now = self._clock()
        found = ((infohash, self._swarms.scrape(infohash, now)) for infohash in asked)
        return scrape_reply({infohash: swarm for infohash, swarm in found if swarm})
