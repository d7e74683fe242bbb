"""`python -m bench.swarm.tracker HOST PORT`: as much of a BitTorrent tracker (BEP 3, 23) as peers
need that know no better way to find each other.
"""

import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from urllib.parse import unquote_to_bytes, urlsplit

_INTERVAL = 5
_peers: dict[bytes, set[bytes]] = defaultdict(set)


class Tracker(BaseHTTPRequestHandler):
    """Answers every announce with all that have announced."""

    def do_GET(self) -> None:
        asked = dict(part.split("=", 1) for part in urlsplit(self.path).query.split("&"))
        port = int(asked["port"]).to_bytes(2, "big")
        own = IPv4Address(self.client_address[0].removeprefix("::ffff:")).packed + port
        known = _peers[unquote_to_bytes(asked["info_hash"])]
        if asked.get("event") == "stopped":
            known.discard(own)
        else:
            known.add(own)
        print("heard", asked["port"], flush=True)
        others = b"".join(known - {own})
        body = b"d8:intervali%de12:min intervali%de5:peers%d:" % (_INTERVAL, 1, len(others))
        body += others + b"e"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps the output free of a line for each request."""


def main() -> None:
    server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Tracker)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
