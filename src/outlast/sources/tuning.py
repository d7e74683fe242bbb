"""The numbers of the sources that are ours to choose: bounds on answers, and times in seconds.

A bound has to be larger than any honest answer, and small enough for memory. "Guess" means that no
measurement chose the number. What the operator can set is in :mod:`outlast.sources.settings`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """All of them."""

    redirects: int = 8
    """Redirects followed for one request. Hubs need one or two; browsers allow 20."""
    hub_description: int = 256 * 1024 * 1024
    """Bytes of a hub's description of a revision: 1,000,000 files of 250 bytes each."""
    page: int = 64 * 1024 * 1024
    """Bytes of one page of a hub's listing. Guess."""
    small_document: int = 1024 * 1024
    """Bytes up to which a document is read and parsed beside others, however many: 35 MB in memory
    at most. An honest list of so many has 5,000 files. Guess."""
    large_documents: int = 512 * 1024 * 1024
    """Bytes of all larger ones that are read at the same time: two of the longest descriptions."""
    peer_page: int = 8 * 1024 * 1024
    """Bytes of a peer's answer that lists models or payloads: 1,000 of 8 kB each. It takes up to
    nine times as much in memory, and a dozen peers are asked at once."""
    signed_urls: int = 4096
    """Redirect targets remembered of one hub: the files of some large revisions. Guess."""
    confirmed_lists: int = 64
    """Commits of one hub whose two lists of files were compared, and need not be again. Guess."""
    spellings: int = 1024
    """Names of models that a hub described, as it spells them. Guess."""
    listed_files: int = 200_000
    """Files by digest that are remembered of one source, over all its listings: some 80 MB. One
    listing is remembered whatever it has."""
    relist_s: float = 300.0
    """How long a source is not listed again for a file that its list lacks. Guess."""
    tree_cut: int = 3000
    """Files and folders of a ModelScope listing from which on it may be cut short: its own client
    knows of this number."""
    tree_lists: int = 5000
    """Requests for one listing that is cut short, folder by folder; as its own client."""
    refs: int = 100
    """Branches and tags of a source that is asked for the commit of each. Guess."""
    skipped: int = 16 * 1024 * 1024
    """Bytes at the start of a file that are read and dropped where ModelScope serves no range: it
    does so for files that are not in LFS, which are small. Guess."""
    sums: int = 16 * 1024 * 1024
    """Bytes of a ``SHA256SUMS``: 10,000 lines of the longest paths."""
    folder_files: int = 10_000
    """Files of a folder that are asked for their sizes, each with a request. Guess."""
    folder_askers: int = 8
    """Such requests at once. Guess: as many as a pull has connections."""
    folder_lists: int = 8
    """Lists of folders of which the sizes are kept in memory. Guess."""
    signed_s: float = 900.0
    """How long a signed URL of a bucket holds. It is used at once; S3 lets clocks differ by as
    much."""
    s3_error: int = 64 * 1024
    """Bytes of what a store of objects says of a failure; honest ones need 500."""
    node_description: int = 64 * 1024
    """Bytes in which a peer says who it is; an honest one needs 300."""
    manifest: int = 256 * 1024 * 1024
    """Bytes of a peer's manifest: as a hub's description."""
    peer_statements: int = 1536 * 1024
    """Bytes of a peer's answer with signed statements about a manifest: 1 MiB of them, in base64.
    """
    layer: int = 64 * 1024 * 1024
    """Bytes of a layer: 2,000,000 pieces, a file of 2 TiB."""
    peer_containers: int = 100_000
    """JSON objects and arrays of a peer's answer. An honest page of 1,000 models or payloads has
    some 20 for each."""
    peer_pages: int = 100
    """Pages of models that are read of one peer: 100,000 models."""
    peer_manifests: int = 8
    """Manifests of one peer kept in memory. Guess: one pull needs one or two."""
    registry_manifest: int = 4 * 1024 * 1024
    """Bytes of a registry's manifest: the OCI distribution specification asks no more of them."""
    registry_page: int = 1024 * 1024
    """Bytes of one page of a registry's list of tags: 5,000 of 128 characters."""
    registry_tags: int = 256
    """Tags of a model, each of which is asked for its digest. The busiest models of Docker Hub have
    some 40. Guess."""
    registry_index: int = 32
    """Manifests of an index that are read to find the one that is a model. Guess: images have one
    for each of some ten platforms, and as many attestations."""
    registry_manifests: int = 16
    """Manifests of one registry kept in memory. Guess: one pull needs one or two."""
    registry_commits: int = 4096
    """Digests of one registry that are found by their first 40 digits. Guess."""
    registry_logins: int = 256
    """Models of one registry whose tokens are kept. Guess."""
    history_pages: int = 10
    """Pages of a hub's list of commits in which an old one is looked for: 10,000 commits where it
    gives 1,000 at once, 500 where it gives 50. Guess."""
    model_pages: int = 100
    """Pages of a hub's list of models: those of the largest account take 10."""
    git_offer: int = 64 * 1024
    """Bytes in which a server of git says what it can do: 200 by protocol version 2. Servers of
    older ones list all branches and tags, which is not read."""
    git_s: float = 20.0
    """An answer of a server of git. Guess: a commit is 300 bytes, folders of 100,000 files 3 MB."""
    card: int = 1024 * 1024
    """Bytes of a model card or licence text. The longest licence that models have is 50 kB."""
    answer_s: float = 30.0
    """A peer's whole answer to a small request. Guess; against peers that send a byte at a time."""
    large_answer_s: float = 300.0
    """A peer's manifest or layer, or a hub's description or page: 256 MiB at 1 MB/s. Guess, as the
    one before."""
    listing_s: float = 900.0
    """All pages of a hub's listing. Guess: 1,000 pages take some minutes."""
    least_rate: int = 4096
    """Bytes a second of an answer that is metadata. Guess: a modem of 1998 is quicker."""
    least_bytes: int = 30 * 4096
    """What such an answer may be behind that rate: it has 30 s for its first bytes."""
    head_s: float = 60.0
    """Status and headers of any answer, and each read of its body, whose single bytes may each come
    in time. Guess: twice what a silent server is given."""


TUNING: Final = Tuning()
