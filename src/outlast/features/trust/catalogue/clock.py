"""Whether what a catalogue says is current. Pure.

A clock that is wrong must neither make a catalogue useless nor let what is stale pass as current:

- Newer metadata is taken whatever the clock says, also where it seems to have expired: versions
  decide what is newer. It is shown as stale then.
- It is current only while the clock is before its expiry, and not before the latest time that is
  known to have been: when the operator signed it, and when this archive last synced. A clock that
  was set back before those is wrong, and all is stale.
- The time of a sync is noted only where the clock agrees with the operator's, so that a clock which
  ran ahead for a day spoils nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

SIGNED: Final = "x-outlast-signed"
"""The field of a timestamp that says when it was signed."""
_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Freshness:
    """`since`: since when it is stale; None: it is current. `why`: one line for a person."""

    since: datetime | None = None
    why: str = ""

    @property
    def is_current(self) -> bool:
        return self.since is None

    @property
    def text(self) -> str:
        """``current``, or ``stale since …``."""
        if self.since is None:
            return "current"
        return f"stale since {self.since:%Y-%m-%d %H:%M} UTC" + (
            f" ({self.why})" if self.why else ""
        )


@dataclass(frozen=True, slots=True)
class KnownTime:
    """What is known of the time, beside the clock: when the operator `signed`, and when this
    archive last synced with a clock that agreed (`seen`).
    """

    signed: datetime | None = None
    seen: datetime | None = None

    @property
    def latest(self) -> datetime | None:
        times = [time for time in (self.signed, self.seen) if time is not None]
        return max(times, default=None)


def judge(expires: datetime, now: datetime, known: KnownTime, slack: float) -> Freshness:
    """How fresh metadata is that expires then."""
    latest = known.latest
    if latest is not None and now < latest - timedelta(seconds=slack):
        return Freshness(latest, f"this machine's clock says {now:%Y-%m-%d}: it is wrong")
    return Freshness(expires, "") if now >= expires else Freshness()


def agrees(expires: datetime, now: datetime, signed: datetime | None, slack: float) -> bool:
    """Whether a clock can be right when metadata arrives that was signed and expires then."""
    began = signed is None or now >= signed - timedelta(seconds=slack)
    return began and now < expires


def seen_after(
    known: KnownTime, expires: datetime, now: datetime, *, newer: bool, slack: float
) -> datetime | None:
    """What to note as `seen` after a sync. A `newer` timestamp that the clock agrees with proves
    the clock right: what was noted before, with another one, counts no more.
    """
    if not agrees(expires, now, known.signed, slack):
        return known.seen
    if newer or known.seen is None:
        return now
    return max(known.seen, now)


def write_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORM)


def read_time(text: object) -> datetime | None:
    """The inverse; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
    except ValueError:
        return None
