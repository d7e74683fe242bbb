"""What is known of the organisations that publish models: who is behind a name on a hub."""

from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class PublisherNames:
    """Names of a publisher beside that of its account. What is not known is empty. `parent` is the
    name of an organisation, or that of its account.
    """

    entity: str = ""
    parent: str = ""
    aliases: tuple[str, ...] = ()


class PublisherFacts(Protocol):
    """Says who is behind the name of an organisation on a hub."""

    def names_of(self, organisation: str) -> PublisherNames | None:
        """None: nothing is known of it. Case does not count."""


class NoFacts:
    """Nothing is known of any."""

    def names_of(self, organisation: str) -> PublisherNames | None:
        del organisation
        return None


NO_FACTS: Final[PublisherFacts] = NoFacts()
