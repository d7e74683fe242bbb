"""Where what was used came from: the country of a model's publisher."""

from typing import Final

from outlast.cli.feature import CountryOf
from outlast.features.gateway.accounts.ledger import UNKNOWN


class Origins:
    """Finds jurisdictions; `country_of` may be slow, and is asked once for each name."""

    def __init__(self, country_of: CountryOf | None) -> None:
        self._country_of: Final = country_of
        self._found: Final[dict[str, str]] = {}

    def jurisdiction(self, provider: str, model: str) -> str:
        """The country of the publisher of `model`: the first part of its name, as in
        ``org/name``; of a model whose name has none, the provider publishes it itself.
        """
        organisation, slash, _ = model.partition("/")
        name = (organisation if slash else provider)[:200].lower()
        if self._country_of is None or not name:
            return UNKNOWN
        found = self._found.get(name)
        if found is None:
            if len(self._found) > 10_000:
                self._found.clear()
            found = self._found[name] = self._country_of(name) or UNKNOWN
        return found
