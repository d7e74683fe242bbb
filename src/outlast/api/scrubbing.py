"""Scrubs, for a Python program."""

from dataclasses import dataclass
from functools import partial

from outlast.api.pulling import neighbourhood
from outlast.api.settings import Settings
from outlast.api.values import FoundHere, ScrubReport
from outlast.app import open_hubs
from outlast.core.control import Control
from outlast.core.names import Target
from outlast.features.durability.parity.keeper import ParityKeeper
from outlast.features.durability.scrub.cursor import ScrubCursor
from outlast.features.durability.scrub.found import Scrubbed
from outlast.features.durability.scrub.mender import Mender
from outlast.features.durability.scrub.scrub import Helpers, ScrubWishes
from outlast.features.durability.scrub.scrub import scrub as run_scrub
from outlast.features.durability.settings import CopiesSettings
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.store.archive import Archive as Store


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """The arguments of a scrub."""

    targets: tuple[Target, ...]
    full: bool
    mend: bool
    max_seconds: float | None
    rate: int
    swarm: bool


def scrub(store: Store, settings: Settings, wishes: Scrubbing, control: Control) -> ScrubReport:
    """Scrubs as the arguments and the settings say."""
    config = settings.config
    share = config.features.get("durability", CopiesSettings()).scrub.parity
    scope = ScrubWishes(wishes.targets, wishes.full, wishes.max_seconds, wishes.rate)
    parity = ParityKeeper(store, share, changes=wishes.mend)
    with ScrubCursor(store.layout.home) as cursor:
        if not wishes.mend:
            return _told(run_scrub(store, cursor, scope, None, control, parity=parity))
        around = partial(
            neighbourhood, store, settings, control, swarm=wishes.swarm, command="scrub"
        )
        how = Wishes(
            connections=config.connections, rate=config.rate, forms=FormWishes(config.form)
        )
        with (
            open_hubs(settings.upstreams((), None), settings.http()) as sources,
            Mender(store, sources, around, how, control) as mender,
        ):
            helpers = Helpers(mender.mend, mender.ask)
            return _told(run_scrub(store, cursor, scope, helpers, control, parity=parity))


def _told(found: Scrubbed) -> ScrubReport:
    return ScrubReport(
        files=found.files,
        size=found.size,
        found=tuple(
            FoundHere(one.kind.value, one.path, one.problem, one.mended, one.why_not)
            for one in found.found
        ),
        left=found.left,
        left_size=found.left_size,
    )
