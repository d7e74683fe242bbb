"""Torrent files and magnet links as pure bytes; no network, no libtorrent.

Public names: `read.read_torrent`, `magnet.parse_magnet`, `payload_torrent.info_of`,
`revision_torrent.RevisionTorrent`.
"""
