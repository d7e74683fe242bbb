"""Opens what mends for ``outlast scrub``: hubs, second homes, and the nodes around."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from outlast.app import Scope, hub_sources, open_neighbourhood
from outlast.cli.edge import Session
from outlast.features.durability.scrub.mender import Mender, homes_of
from outlast.features.durability.settings import CopiesSettings
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.store.archive import Archive


@contextmanager
def open_mender(run: Session, archive: Archive) -> Iterator[Mender]:
    """As the configuration says who may be asked."""
    config = run.config
    scope = Scope() if config.swarm.enabled else Scope(lan=False, peers=())
    around = partial(
        open_neighbourhood, archive, config.node(), run.control, scope, command="scrub"
    )
    wishes = Wishes(connections=config.connections, rate=config.rate, forms=FormWishes(config.form))
    stores = config.features.get("durability", CopiesSettings()).stores
    sources = [
        *hub_sources(config.upstreams(config.sources), config.http()),
        *homes_of(stores, config.open_home, run.control),
    ]
    with Mender(archive, sources, around, wishes, run.control) as mender:
        yield mender
