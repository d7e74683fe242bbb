"""The numbers of the servers that are ours to choose: times in seconds, sizes in bytes.

"Guess" means that no measurement chose the number. Bounds on what a client may send (bodies,
fields, names) are no tuning and stay where they are checked.
"""

from dataclasses import dataclass
from os import cpu_count
from typing import Final


@dataclass(frozen=True, slots=True)
class ServerTuning:
    """Of a hub's port and of a peer port."""

    # Answers
    claims_s: float = 2.0
    """Seconds for which the claims of a revision, and that it is revoked, are not looked up again.
    Guess: short for a person, long for a client that reads ranges."""
    claims_kept: int = 1024
    """Revisions whose claims are kept. Guess: 200 kB."""
    hub_threads: int = 32
    """Threads that wait for the disk, at the hub's port. Guess: a disk's queue is full before."""
    peer_threads: int = 8
    """The same at the peer port, which pulls have too. Guess."""
    decode_threads: int = max(2, min(16, cpu_count() or 2))
    """Threads that decode capsules: one a core. 16 at most is a guess."""
    compare_threads: int = 2
    """Threads that compare plain files before their first use. Guess: one does 5 GB/s or more, and
    the other is there while the disk of the first one waits."""
    compared_part: int = 4 << 20
    """Bytes that are compared at once, ahead of those that are sent."""
    tree_page: int = 100_000
    """Rows of a page of ``tree``. Guess: above what a model has, so that one request is enough."""
    list_page: int = 1000
    """Repositories of a page of ``/api/models``: the hub's own number."""
    peer_page: int = 1000
    """Models of a page of the node API. Guess: some hundred kB of JSON."""
    body_timeout: float = 20.0
    """For a request's body to come. Guess: 1 MiB at 50 kB/s."""
    body_pause: float = 5.0
    """And for the next bytes of it. Guess: what a lossy line takes."""
    slowest: int = 16 << 10
    """Bytes per second: a long document has to be taken so fast on average, because it stays in
    memory meanwhile. Guess: a bad line of a mobile phone."""
    slow_start: float = 30.0
    """And so many seconds before that counts. Guess."""

    # Probes of /healthz
    health_every: float = 5.0
    """From one check of the disk to the next, however many ask. Guess: it is one small write, and
    probes come every ten seconds."""
    health_wait: float = 0.5
    """A probe waits so long for a check, and then gets the last word. Guess: half of what probes
    allow by default (Kubernetes: a second)."""
    health_stuck: float = 20.0
    """A check that takes longer means that the disk hangs. Guess: a busy disk that spins syncs
    sooner."""

    # Connections
    backlog: int = 1024
    """Connections that the kernel holds until we accept them. Guess: as many as `serve` takes."""
    accepted_at_once: int = 16
    """Of those, the ones that are accepted in one round of the event loop."""
    begun_at_once: int = 8
    """New connections from which the event loop begins to read in one round."""
    begun_of_one: int = 4
    """And of one address."""
    dropped_at_once: int = 16
    """Connections that are closed in one round, where many are of no use any more. Guess: 1 ms."""
    head_read: int = 8 << 10
    """Bytes that are read of a connection at once, for a request's head and small bodies. Guess:
    most are shorter."""
    body_read: int = 64 << 10
    """And of a long body in its turn. With 200 of them from one address, 1 % of others' requests
    took over 9 ms; over 12 ms with 256 kB, which is what the event loop takes by default."""
    keep_alive: float = 120.0
    """An idle connection is closed. Guess: longer than clients' pools keep theirs."""
    crowded_idle: float = 2.0
    """Where all places are taken, a connection that is idle for so long makes room for a client
    that has none. Guess: a client that was just accepted sends its request sooner."""
    shutdown: float = 3.0
    """For running requests to end when the server stops. Guess: less than init systems wait."""
    first_request: float = 30.0
    """A connection on which no request came, or only a part of one, is closed. Guess."""
    sweep_every: float = 5.0
    """Between two looks for connections to close. Guess: it costs a pass over all of them."""
    peer_connections: int = 512
    """Connections at the peer port. Guess: more than neighbours have."""
    peer_stall: float = 60.0
    """A peer that takes no byte is dropped. Guess: it has other nodes to ask."""
    peer_shutdown: float = 0.1
    """As `shutdown`, at the peer port: a pull that is done must not linger for it. Guess."""

    # Memory and files
    head: int = 64 << 10
    """Bytes of a request without its body, or of all that follow one that is being answered: they
    are kept for each connection. Guess: twice what other servers take."""
    memory: int = 64 << 20
    """Bytes of bodies and of long documents at once, at each port. Guess: a few dozen of them."""
    memory_each: int = 24 << 20
    """Of that, for one address. Guess: the longest document there is, and others have room."""
    memory_always: int = 128 << 10
    """Of one address, whatever others have. Guess: more than most requests and answers take."""
    unsent: int = 256 << 10
    """Bytes that the kernel takes for a client beyond those on their way. Measured on loopback:
    without a bound 2.8 MB for a client that reads nothing, and some ms of the loop to copy them."""
    written: int = 64 << 10
    """A longer document is written in slices of it as the client takes them: what the event loop
    buffers by default."""
    large_at_work: int = 1
    """Bodies longer than `written`, of all askers, that are read and parsed at once. With 200
    bodies of 1 MB from eight addresses, 1 % of others' requests took over 10 ms; over 23 ms where
    each address had one of them at work."""
    soon: float = 0.02
    """Such a body that was waited for so long in all queues again behind the others. Guess: a few
    rounds of a busy event loop."""
    switch: float = 0.0003
    """A thread of Python that computes gives way to the event loop after so long, which the loop
    would wait for at each of its steps. With 200 large bodies from eight addresses, 1 % of others'
    requests took over 24 ms; over 28 ms with 1 ms, over 23 ms with 0.1 ms."""
    files_each: int = 4
    """Open files of a connection while a file is sent: two of the socket, two of the file."""
    files_beside: int = 512
    """Open files of all that is no connection: capsules, downloads, the swarm. Guess."""
    fewest_connections: int = 16
    """However few files there may be. Guess."""

    # The API of a loaded model
    model_connections: int = 256
    """Connections to the API of a model. Guess: many times what an engine answers at once."""
    long_prompts: int = 4
    """Bodies of one address, of those longer than `written`, that are read at once. Guess: one that
    comes slowly keeps no other of a machine with many users waiting."""
    model_stall: float = 120.0
    """A client that takes no byte of its answer is dropped. Guess."""
    client_poll: float = 0.5
    """Between two looks whether the client still waits for its answer. Guess: so much work of the
    engine may be in vain."""
    engine_poll: float = 0.2
    """Between two looks whether the engine still runs. Guess: a person who presses Ctrl-C does not
    notice it."""

    # Bytes of files
    streamed_slice: int = 4 << 20
    """Of a download, sent between two looks whether it is still right: the
    size of a request upstream (docs/adr/0004-pieces.md)."""
    copied_slice: int = 256 << 10
    """Read and sent at once where sendfile(2) fails. Guess: what a socket takes at once."""
    first_sendfile: int = 256 << 10
    """Sent by the loop's own sendfile while its buffer empties. Guess: some milliseconds."""
    decoded: int = 128 << 20
    """Memory for decoded blocks. Guess: a server may take that much beside its archive."""
    decoded_kept: int = 32 << 20
    """Of that, for blocks that no request sends. Guess: what some clients of one file are apart."""
    decoded_grain: int = 256 << 10
    """Buffers are multiples of it, so that they can be used again. Guess."""
    blocks_ahead: int = 4
    """Blocks decoded ahead of a client. Guess: one a core of a small machine."""
    bytes_ahead: int = 8 << 20
    """At most so much of them. Guess: a second of a client at 64 Mbit/s."""
    patience: float = 1.0
    """A client that takes nothing for so long no longer holds memory. Guess."""
    open_capsules: int = 64
    """Capsules kept open, with their directories. Guess: two shards of each of 32 clients."""
    tidy_every: float = 10.0
    """Between two looks for memory and files that no request used meanwhile. Guess."""


TUNING: Final = ServerTuning()
