"""One BitTorrent node of a measured run: `python -m bench.sim.measure_node JSON`.

Plain libtorrent, TCP alone, peers as named; writes one JSON line every quarter of a second until
its standard input ends. It is what `bench.sim.measure` starts in each network namespace.
"""

import json
import select
import sys
import time
from pathlib import Path
from typing import Any

import libtorrent as lt

_PORT = 6881
_TICK = 0.25


def main() -> None:
    order = json.loads(sys.argv[1])
    settings: Any = {
        "listen_interfaces": f"{order['address']}:{_PORT}",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "alert_mask": 0,
        **order["settings"],
    }
    session = lt.session(settings)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(order["torrent"])
    params.save_path = order["folder"]
    params.flags = lt.torrent_flags.paused
    if order["seed"]:
        params.flags |= lt.torrent_flags.seed_mode
        if order["super_seed"]:
            params.flags |= lt.torrent_flags.super_seeding
    handle = session.add_torrent(params)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()  # everybody begins at once
    begun = time.monotonic()
    for address in order["peers"]:
        handle.connect_peer((address, _PORT))
    handle.resume()
    _report(handle, begun)


def _report(handle: Any, begun: float) -> None:
    done: float | None = None
    while True:
        status = handle.status()
        if done is None and status.is_seeding:
            done = time.monotonic() - begun
        line = {
            "sent": status.total_payload_upload,
            "received": status.total_payload_download,
            "wasted": status.total_redundant_bytes + status.total_failed_bytes,
            "have": "".join("1" if piece else "0" for piece in status.pieces),
            "done": done,
        }
        print(json.dumps(line), flush=True)
        if select.select([sys.stdin], [], [], 0.05 if done is None else _TICK)[0]:
            return


def make_torrent(data: Path, torrent: Path) -> None:
    """A v2 torrent of one file in pieces of 1 MiB."""
    storage = lt.file_storage()
    lt.add_files(storage, str(data))
    made = lt.create_torrent(storage, 1024 * 1024, lt.create_torrent.v2_only)
    lt.set_piece_hashes(made, str(data.parent))
    torrent.write_bytes(lt.bencode(made.generate()))


if __name__ == "__main__":
    main()
