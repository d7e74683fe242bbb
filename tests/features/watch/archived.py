"""Archiving the world's model before anything happens to it."""

from outlast.core.control import Control
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.fetch.transfer import Wishes
from outlast.ops.pull import pull
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from tests.features.watch.world import World


def pull_all(world: World, name: str = "org/name") -> None:
    with HttpClient(HttpSettings()) as http:
        pull(
            world.archive,
            Target.parse(name),
            [HubSource(http, world.hub.url, "hf_right")],
            selection=Selection(),
            wishes=Wishes(),
            control=Control(),
        )
