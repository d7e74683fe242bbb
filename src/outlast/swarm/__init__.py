"""Moves pieces between nodes: LAN discovery and election, trackers, torrents, and the only code
that knows libtorrent.

Public names: `settings.SwarmSettings`, `schedule.Rates`; the rest is in the rooms `lan`, `torrent`,
`client` and `tracker`.
"""
