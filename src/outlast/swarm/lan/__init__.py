"""Who is on this network, what each node wants, and which node asks the origin.

Public names: `beacon.Beacon` speaks and listens, `election.Election` decides,
`peer_table.PeerTable` remembers, `datagrams` has the format.
"""
