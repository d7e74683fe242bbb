"""A port for what cannot listen on port 0 because others have to know the port first."""

import random
import socket
from typing import Final

FIRST: Final = 10_000
LAST: Final = 32_767
"""Above are the ports that the system chooses from for connections: one that is free now may go to
another test's connection."""


def free_port() -> int:
    """Free on all interfaces, for TCP and UDP. No seed: test processes must not choose alike."""
    while True:
        port = random.SystemRandom().randint(FIRST, LAST)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            try:
                tcp.bind(("", port))
                udp.bind(("", port))
            except OSError:
                continue
        return port
