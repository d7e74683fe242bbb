"""`python -m bench.swarm.drive_torrent make|seed|fetch JSON`: libtorrent and nothing else.

`make` writes `torrent` for the one file in `path`; `seed` prints `ready` and seeds until it is
ended; `fetch` ends when everything is there and on the disk.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import libtorrent

_PIECE = 1 << 20
_POLL = 0.02


def make(about: dict[str, Any]) -> None:
    """Writes a .torrent of pieces of 1 MiB: `version` 1 or 2."""
    path = Path(about["path"])
    flag = libtorrent.create_torrent.v2_only
    if about["version"] == 1:
        flag = libtorrent.create_torrent.v1_only
    files = [libtorrent.create_file_entry(path.name, path.stat().st_size)]
    torrent = libtorrent.create_torrent(files, _PIECE, flag)
    if about.get("tracker"):
        torrent.add_tracker(about["tracker"], 0)
    for url in about.get("web_seeds", ()):
        torrent.add_url_seed(url)
    libtorrent.set_piece_hashes(torrent, str(path.parent))
    Path(about["torrent"]).write_bytes(libtorrent.bencode(torrent.generate()))


def _handle(about: dict[str, Any]) -> tuple[Any, Any]:
    settings: dict[str, Any] = {
        "listen_interfaces": f"0.0.0.0:{about['port']}",
        "alert_mask": libtorrent.alert.category_t.storage_notification,
        **about.get("settings", {}),
    }
    session = libtorrent.session(settings)  # type: ignore[call-overload]
    params = libtorrent.load_torrent_file(about["torrent"])
    params.save_path = about["save"]
    params.flags &= ~libtorrent.torrent_flags.auto_managed
    params.flags &= ~libtorrent.torrent_flags.paused
    if about.get("seed"):
        params.flags |= libtorrent.torrent_flags.seed_mode
    handle = session.add_torrent(params)
    return session, handle


def main() -> None:
    what, about = sys.argv[1], json.loads(sys.argv[2])
    if what == "make":
        make(about)
        return
    session, handle = _handle(about)
    if what == "seed":
        print("ready", flush=True)
        while True:
            time.sleep(3600)
    while not handle.status().is_seeding:
        time.sleep(_POLL)
    handle.flush_cache()
    while not any(isinstance(one, libtorrent.cache_flushed_alert) for one in _alerts(session)):
        pass
    # A session that ends in good order waits up to 5 s for trackers to take note.
    os._exit(0)


def _alerts(session: Any) -> Any:
    session.wait_for_alert(100)
    return session.pop_alerts()


if __name__ == "__main__":
    main()
