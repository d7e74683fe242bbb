"""What listens: the hub's API, the node's API and the status socket, on one HTTP kernel.

Public names: `hub.server.serve`, `node.peer_port.PeerServer`.
"""
