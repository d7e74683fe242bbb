"""libtorrent, behind types of our own: a session, a torrent for each payload, and the choice of
pieces.

Public names: `session.Session`, `torrent.Torrent`, `multi_file.Foreign`, `picker.Choice`,
`dht.Dht`.
"""
