"""Tells changes by a channel, with what the archive holds of the models that are meant."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from outlast.core.control import Control
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change
from outlast.features.watch.settings import WatchSettings
from outlast.features.watch.telling.alerts import NOTHING, HeldCommits, alert_of
from outlast.features.watch.telling.channels import Mail, Sender, Webhook
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Telling:
    """Implements :class:`outlast.features.watch.watch.Teller`."""

    sender: Sender
    archive: Archive

    @property
    def name(self) -> str:
        return self.sender.name

    def tell(self, changes: Sequence[Change]) -> None:
        """Sends these changes as one message."""
        held = held_of(self.archive, {change.repo for change in changes if change.repo})
        self.sender.send(
            [
                alert_of(change, held.get(change.repo, NOTHING) if change.repo else NOTHING)
                for change in changes
            ]
        )


@contextlib.contextmanager
def open_channels(
    settings: WatchSettings, http: HttpSettings, archive: Archive, control: Control
) -> Iterator[tuple[Telling, ...]]:
    """The channels that the settings name, until the block ends."""
    senders: list[Sender] = []
    with HttpClient(http) as client:
        if settings.webhook:
            senders.append(Webhook(client, settings.webhook, control.cancel.wait))
        if settings.mail_to:
            senders.append(Mail(settings.mail_to, settings.sendmail))
        yield tuple(Telling(sender, archive) for sender in senders)


def held_of(archive: Archive, repos: Iterable[RepoId]) -> dict[RepoId, HeldCommits]:
    """What the archive has of these models; it may spell them otherwise."""
    spelled = {archive.refs.spelling(repo): repo for repo in repos}
    complete: dict[RepoId, set[str]] = {repo: set() for repo in spelled}
    partial: dict[RepoId, set[str]] = {repo: set() for repo in spelled}
    for line in archive.summaries() if spelled else ():
        if line.repo in spelled:
            (partial if line.partial else complete)[line.repo].add(line.revision.hex)
    return {
        asked: HeldCommits(frozenset(complete[repo]), frozenset(partial[repo]))
        for repo, asked in spelled.items()
    }
