"""libtorrent, behind types of our own: a session, a torrent for each payload, and the choice of
pieces.

Public names: `session.TorrentSession`, `torrent.Torrent`, `multi_file.MultiFileTorrent`,
`picker.PiecePicker`, `dht.Dht`.
"""
