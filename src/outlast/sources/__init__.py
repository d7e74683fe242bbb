"""Where bytes come from: hubs, mirrors, ModelScope, registries, web folders, buckets, other nodes,
a Hugging Face cache; claims are checked by the caller.

Public names: `base.Source` is the protocol; `kinds.open_source` opens what users name by a kind and
a URL; `hub.HubSource` and `peer.PeerSource` implement it over `http.HttpClient`; `hfcache.scan`
reads a cache folder.
"""
