"""What nodes ask each other, the tracker's HTTP side, and the status socket.

Public names: `api.NodeApi` answers, `peer_port.PeerServer` listens.
"""
