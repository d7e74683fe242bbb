"""Who is behind a name, from the table of publishers, as screening asks for it."""

from outlast.features.trust.rules.countries import UNKNOWN
from outlast.features.trust.rules.publishers import Publishers
from outlast.features.trust.screening.publisher_facts import PublisherNames


class KnownPublishers:
    """Implements :class:`outlast.features.trust.screening.publisher_facts.PublisherFacts`."""

    def __init__(self, publishers: Publishers) -> None:
        self._publishers = publishers

    def names_of(self, organisation: str) -> PublisherNames | None:
        found = self._publishers.named(organisation)
        if found.legal_entity == UNKNOWN and not found.parent:
            return None
        entity = "" if found.legal_entity == UNKNOWN else found.legal_entity
        return PublisherNames(entity=entity, parent=found.parent)
