"""The numbers of the swarm that are ours to choose: times in seconds, sizes in bytes.

What `docs/format/swarm.md` fixes is no tuning and stays where it is used: other nodes depend on
it. "Guess" means that no measurement chose the number; bounds have to be large enough for honest
peers, and small enough for memory.
"""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class LibtorrentTuning:
    """Settings of a libtorrent session, by libtorrent's names."""

    active_limit: int = -1
    """No limit, here and in the next two: a node seeds everything that it has."""
    active_seeds: int = -1
    active_downloads: int = -1
    active_checking: int = 2
    """Files hashed at once. Guess: one disk serves about that many readers well."""
    active_lsd_limit: int = 100
    """Torrents announced by local discovery: those for ordinary clients. Guess."""
    active_tracker_limit: int = 2000
    """Torrents announced to trackers. Guess: hundreds of models of some files each."""
    connections_limit: int = 500
    """Connections. Guess: below the 1024 files that a process may open by default."""
    unchoke_slots_limit: int = 16
    """Peers beyond the LAN that are sent to at once. Guess; on the LAN there is no limit."""
    alert_queue_size: int = 100_000
    """Alerts. A burst must not be lost; losses are survived (`Torrent.resync`)."""
    min_reconnect_time: int = 1
    """A neighbour is tried again at once after a partition, where libtorrent waits a minute. Held
    by tests/swarm/test_net_split.py."""
    max_failcount: int = 100_000
    """Failed connections after which a peer is given up: never, its machine may come back."""
    peer_connect_timeout: int = 5
    """Guess: a LAN answers in milliseconds, and the other side of the world within one."""
    min_announce_interval: int = 5
    """As the tracker in every node allows it."""
    peer_timeout: int = 30
    """A peer that sends nothing is dropped. Guess; libtorrent's own is 120."""
    inactivity_timeout: int = 60
    """A connection without mutual interest may close. Guess."""
    piece_timeout: int = 10
    """A piece is asked of another peer. Guess; libtorrent's own is 20."""
    request_timeout: int = 15
    """A peer that answers no request is snubbed. Guess; libtorrent's own is 60."""
    aio_threads: int = 4
    """Disk threads. Guess: the disk has others to serve."""
    hashing_threads: int = 1
    """One core of SHA-256 is enough for a network."""
    file_pool_size: int = 64
    """Files open at once. Guess."""
    max_queued_disk_bytes: int = 32 * 1024 * 1024
    """Bytes waiting for the disk before downloads pause. Guess: half a second of a slow disk."""
    max_out_request_queue: int = 64
    """Requests (16 KiB) under way to one peer: 1 MiB. With libtorrent's own 500, eight nodes had 30
    pieces under way from one seed, and it sent 1.6 copies; with few requests, and stripes, 1.03 to
    1.06 (`make bench-swarm`, docs/simulation.md, docs/adr/0016-stripes.md)."""
    request_queue_time: int = 1
    """Seconds' worth of requests under way; measured with the one before. libtorrent's own is 3."""
    whole_pieces_threshold: int = 0
    """Peers are never asked for whole pieces at once; measured with the two before."""


@dataclass(frozen=True, slots=True)
class ClientTuning:
    """The room `swarm.client`."""

    libtorrent: LibtorrentTuning = field(default_factory=LibtorrentTuning)
    listen_s: float = 10.0
    """Until a session has to listen. Guess: takes milliseconds where the port is free."""
    refused_s: float = 0.5
    """After one interface refused the port, until the others have to listen. Guess."""
    count_s: float = 1.0
    """Longest wait for libtorrent's counters. Guess: takes milliseconds."""
    close_s: float = 10.0
    """Longest wait for libtorrent to flush, and again to let go of, a torrent. Guess: 32 MiB are
    queued at most."""
    flush_pieces: int = 16
    """Pieces (1 MiB) after which they are flushed and recorded: what a crash costs. Guess."""
    peers_looked_at: int = 500
    """Connections of a torrent whose bytes are counted: as many as a session has."""
    probation_pieces: int = 2
    """Pieces asked for before any peer is known to be honest. With more wrong at once, libtorrent
    banned honest peers along with a liar (tests/swarm/test_net_liars.py)."""
    few_pieces: int = 3
    """Missing pieces that need no probation: libtorrent 2.1 bans a peer that had a part in four
    wrong ones (each costs 2 points, and 7 are the limit)."""
    probation_s: float = 3.0
    """After which all pieces are asked for: maybe no peer has the first ones. Guess."""
    turn_s: float = 5.0
    """Longest turn of a peer that may have sent a part of a wrong piece, while the others of its
    kind wait. Guess."""
    stuck_s: float = 2.0
    """Without a byte for so long after wrong pieces, a torrent is joined again; each pause is twice
    the one before, until a piece comes. Guess: an honest peer pauses less."""
    stuck_most_s: float = 60.0
    """Longest of these pauses. Guess."""
    front_pieces: int = 4
    """High-priority pieces of a stripe. Keep this above libtorrent's request queue per peer
    (`max_out_request_queue`), or it spreads the stripe over several seeds. Measured: ADR 16."""
    under_way_pieces: int = 2
    """First pieces of another node's stripe that are not helped with: it is fetching them."""
    yield_patience_s: float = 2.0
    """Without a new piece for so long, a node asks the seeds again. Guess."""
    help_limit_pieces: int = 20_000
    """Files of more pieces are not looked through four times a second: ADR 16."""
    dht_tick_s: float = 1.0
    """Between two looks at what to announce. Guess."""
    dht_count_s: float = 2.0
    """Between two counts of the nodes known, and tries of the routers while none is. Guess."""
    dht_first_s: float = 4.0
    """Until the second announcement of a torrent; each pause is twice the one before. Guess."""
    dht_alone_s: float = 20.0
    """Longest pause of a torrent that is fetched while no peer of it was named: the first one may
    come at any moment. Guess."""
    dht_closed_s: float = 60.0
    """Longest pause between announcements in a network of its own (ADR 15)."""
    dht_open_s: float = 900.0
    """Longest pause in the public DHT, whose nodes forget after 30 minutes (ADR 15)."""
    dht_announced_a_tick: int = 20
    """Torrents announced in one tick: a thousand torrents take 50 s. Guess."""
    port_tries: int = 8
    """Other ports that BitTorrent or the DHT tries where the one that it chose is taken meanwhile.
    Guess: of 28,000 ports few are."""
    link_trackers: int = 20
    """Trackers of a link that are asked; each takes a thread. Guess."""
    tracker_answer_s: float = 15.0
    """Longest wait for a tracker, beside the resolution of its name. Guess."""
    tracker_again_s: float = 2.0
    """Until a tracker that failed is asked again, twice as long each time. Guess: a neighbour that
    is a tracker is heard of soon."""
    tracker_least_s: float = 5.0
    """Least pause after an answer: what our own trackers ask for."""
    tracker_most_s: float = 1800.0
    """Longest pause between two announcements."""
    tracker_end_s: float = 2.0
    """Longest wait for trackers to take note of the end. Guess."""
    dht_peers_a_reply: int = 200
    """Peers taken from one reply. Guess."""


@dataclass(frozen=True, slots=True)
class LanTuning:
    """The room `swarm.lan`; most of its numbers are the protocol's."""

    scan_s: float = 2.0
    """Between two looks at the network interfaces. Guess: a cable is noticed soon enough."""
    gather_s: float = 0.02
    """Changes that come so close together share datagrams. Guess."""
    resend_s: float = 1.0
    """Until an announcement that could not be sent is tried again. Linux takes about that long to
    know that an IPv6 address is no other machine's."""
    datagrams_in_all: int = 2000
    """Read per second, of all senders. Guess: several full LANs' worth."""
    knock_s: float = 0.3
    """In which a machine of the LAN takes a connection; no program has to run for that. Guess."""
    knocks_at_once: int = 256
    """Connections that are tried at the same time: 850 invented addresses a second. The kernel's
    table of neighbours has room for 1,024."""
    knocks_wait: int = 4096
    """Addresses that wait to be tried: a bound against forged ones, some 300 bytes each."""
    knocks_crowd: int = 64
    """Addresses tried in vain that make a crowd of invented ones. Guess: nodes that ended without
    a word are fewer."""
    senders: int = 512
    """Whose rate is remembered: as many as there are nodes remembered."""
    burst_s: float = 2.0
    """Seconds' worth of datagrams that may come at once. Guess: the socket's buffer holds less."""
    heard_wishes: int = 65_536
    """Remembered, of all nodes and blobs: some 200 bytes each."""
    resign_s: float = 30.0
    """For which a node whose origin failed does not count as able. Guess."""
    shunned: int = 1024
    """Pairs of node and blob that are shunned at once. Guess."""


@dataclass(frozen=True, slots=True)
class TrackerTuning:
    """The room `swarm.tracker`: what the tracker in every node remembers."""

    interval_s: int = 30
    """Peers are told to come back after so long. Guess: nodes that come are found in half of it."""
    max_interval_s: int = 1800
    """Where there are many peers: what public trackers say."""
    announces_per_s: int = 10
    """The more peers there are, the less often they are asked to come back, so that this holds."""
    swarms: int = 20_000
    peers: int = 500
    """In one swarm. Guess: a reply names 200."""
    ports: int = 32
    """Peers with one address in one swarm. Guess: one machine runs some, and a liar not all."""
    peers_in_all: int = 100_000
    """Some 400 bytes each."""
    wanted: int = 50
    """Peers that a reply names where the query gives no number: BEP 3 calls 50 plenty."""
    max_wanted: int = 200
    """Peers that a reply names at most. Guess."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """All of them."""

    client: ClientTuning = field(default_factory=ClientTuning)
    lan: LanTuning = field(default_factory=LanTuning)
    tracker: TrackerTuning = field(default_factory=TrackerTuning)


TUNING: Final = Tuning()
