"""The numbers of a mirror that are ours to choose: times in seconds."""

from dataclasses import dataclass, field
from typing import Final

from outlast.fetch.source_state import Patience


@dataclass(frozen=True, slots=True)
class MirrorTuning:
    """Of the questions that a mirror asks upstream, and of its fetches. "Guess" means that no
    measurement chose the number.
    """

    grace: float = 1.0
    """From its beginning, a question holds up what could be served stale. Guess: most hubs answer
    within a third of it, and a client waits ten times as long for its first byte."""
    answer_timeout: float = 10.0
    """The same where there is nothing to serve; then the client is told to come again. Guess: the
    time that huggingface_hub gives a request for metadata."""
    askers: int = 16
    """Questions at once. Guess: more repositories are seldom asked for in one second."""
    ask: Patience = field(default_factory=lambda: Patience(tries=3, longest=5.0))
    """With a source that is asked while a client waits. Guess."""
    fetch: Patience = field(default_factory=lambda: Patience(tries=4, longest=10.0))
    """With a source of files, before the client hears of it. Guess."""
    fetches: int = 6
    """Files fetched at once. Guess: each has connections of its own."""
    small_fetch: int = 4 << 20
    """A file up to this size is small: it does not wait for larger ones. As `fetch` has it: what
    comes in one request."""
    small_fetches: int = 6
    """Small files fetched at once, beside the others. Guess."""
    small_within: float = 10.0
    """A small file that takes longer counts as a large one from then on: its hub is slow, and keeps
    no other small files waiting. As `fetch` asks a second source for it."""
    fetches_each: int = 256
    """Files of one asker that are fetched or wait for it. Guess: more than any client asks for at
    once."""
    crowding: int = 4
    """So many times `fetches` at most, where further askers come. Guess."""
    deserted_after: float = 3.0
    """A fetch that no client follows for so long makes room for one that a client waits for. Guess:
    clients that are cut off resume after a second or two."""
    look: float = 0.25
    """Between two looks at who follows which fetch, while a large file waits. Guess: a client
    waits ten times as long for its first byte."""
    questions: int = 5000
    """Of one asker in an hour, for what is not here: each may leave a list of files on the disk.
    Guess: more than people type, and a whole organisation's models."""
    accounts: int = 10_000
    """Askers whose quotas are remembered. Guess: a megabyte."""
    keep_free_share: float = 0.05
    """Of the disk, that clients of a mirror do not fill. Guess: file systems keep as much."""
    keep_free: int = 50_000_000_000
    """Bytes, at most, of that. Guess: what an operator needs to act."""
    listed_file: int = 400
    """Bytes that each file of a list takes on the disk beside its path: in drafts, manifests and
    the index. Of 20,000 files a draft has 150 bytes each."""
    down_for: float = 30.0
    """After a failure upstream is not asked, unless it named a longer time. Guess: what a restart
    takes."""
    down_longest: float = 600.0
    """However long it named: a year would be a mistake, or worse. As a pull waits at most."""
    absent_for: float = 60.0
    """What upstream said not to have is not asked for again. Guess: a new repository is seen
    within a minute."""
    recheck: float = 60.0
    """Whether a public model still is public is not asked more often. Guess."""
    verdicts: int = 16384
    """What hubs said of tokens and models, remembered: some MB. Guess: a hundred people who use a
    hundred models."""
    quota_slack: float = 0.05
    """Of what may be kept, that is freed beside what is needed: so that not each file that comes
    makes the mirror look at the whole archive. Guess: a look takes a second for each million of
    files, and a twentieth of a terabyte is some ten models."""
    quota_again: float = 10.0
    """Where nothing was left to drop, the archive is looked at again after so long. Guess: the look
    takes a small part of it."""
    quota_measured: float = 60.0
    """What is there is looked at again after so long, for what other processes on the archive
    fetched. Guess: a mirror does not pass its quota by more than a minute brings."""
    use_noted: float = 900.0
    """The last use of a revision is written down again after so long. Guess: it says on which day a
    model was used, which is what the choice needs, and costs a write for each model."""
    uses: int = 16384
    """Revisions whose last use is remembered. Guess: some MB."""
    kept: int = 512
    """Views of revisions, lists of refs and refusals that are remembered, each. Guess: some MB."""


TUNING: Final = MirrorTuning()
