"""Where bytes come from: hubs, mirrors, registries, other nodes, a Hugging Face cache; claims are
checked by the caller.

Public names: `base.Source` is the protocol; `hub.HubSource`, `oci.OciSource`, `ollama.OllamaSource`
and `peer.PeerSource` implement it over `http.HttpClient`; `hfcache.scan` reads a cache folder.
"""
