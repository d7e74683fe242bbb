"""Where bytes come from: hubs, mirrors, other nodes, a Hugging Face cache; claims are checked by
the caller.

Public names: `base.Source` is the protocol; `hub.HubSource` and `peer.PeerSource` implement it over
`http.HttpClient`; `hfcache.scan` reads a cache folder.
"""
