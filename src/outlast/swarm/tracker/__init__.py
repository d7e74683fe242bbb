"""The BitTorrent tracker in every node, apart from the server that carries its questions.

Public names: `tracker.Tracker`, `state.Swarms`, `wire.parse_announce`.
"""
