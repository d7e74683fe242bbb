"""What the core takes from a feature, and how it finds one: by name, when it is needed.

Nothing of the core imports a feature. Those that there are, `outlast.features` lists;
`outlast.__main__` hands the list to the command line, and tests hand in lists of their own.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from outlast.app import App
    from outlast.core.claims import Assessor, Weighed, Weigher
    from outlast.core.digest import Digest, GitOid
    from outlast.core.names import KnownName, KnownNames, RepoId
    from outlast.core.offer import Offer
    from outlast.core.policy import Gate
    from outlast.ops.doctor import Finding
    from outlast.server.http.mount import Mount
    from outlast.sources.base import Source
    from outlast.sources.http import HttpClient
    from outlast.store.archive import Archive
    from outlast.store.evidence.acquisition import Acquisition, Recorder


class Feature(Protocol):
    """What a feature gives. `settings` is, in each case, what its own :meth:`settings` returned."""

    def settings(self, table: Mapping[str, Any]) -> Any:
        """Its section of the configuration, checked; an empty table gives the defaults. Raises
        :class:`~outlast.core.errors.BadConfigError`.
        """

    def mounts(self, app: "App", settings: Any) -> Iterable["Mount"]:
        """Handlers for paths of the hub's port."""

    def services(self, app: "App", settings: Any) -> Iterable[AbstractContextManager[object]]:
        """What runs beside `serve`: entered before the first request, left after the last one, the
        last first.
        """

    def checks(self, home: "Path") -> Iterable["Finding"]:
        """Findings for `doctor` about the archive in `home`, which may not exist yet."""


class CommandsAlone:
    """Implements :class:`Feature` for one that gives commands, and nothing that runs beside
    `serve`; `name` is that of the section that it does not have. `hint`: where its settings are.
    """

    def __init__(self, name: str, hint: str = "") -> None:
        self._name = name
        self._hint = hint

    def settings(self, table: Mapping[str, Any]) -> None:
        from outlast.core.errors import BadConfigError  # noqa: PLC0415 - help does without

        if table:
            raise BadConfigError(f"[{self._name}] has no settings", hint=self._hint)

    def mounts(self, app: "App", settings: None) -> Iterable["Mount"]:
        del app, settings
        return ()

    def services(self, app: "App", settings: None) -> Iterable[AbstractContextManager[object]]:
        del app, settings
        return ()

    def checks(self, home: "Path") -> Iterable["Finding"]:
        del home
        return ()


class Finder(Protocol):
    """How a feature finds models for `pull`, `locate` and `search`, beside hubs and nodes. Each
    call is cheap where the archive in `home` has nothing for it.
    """

    word: str
    """What names it in ``--from``: ``WORD``, or ``WORD:NAME`` for one of its places."""

    def sources(self, home: "Path", http: "HttpClient", words: Sequence[str]) -> "list[Source]":
        """What `pull` asks after the hubs; with `words`, the places that these name. Raises
        :class:`~outlast.core.errors.NotFoundError`.
        """

    def sources_of(self, home: "Path", http: "HttpClient", repo: "RepoId") -> "list[Source]":
        """Sources that may have the files of a model."""

    def disputes(self, home: "Path", http: "HttpClient", repo: "RepoId") -> list[str]:
        """What its places say against each other of a model, in a line each."""

    def offers(self, home: "Path", http: "HttpClient", query: str) -> "list[tuple[str, Offer]]":
        """Revisions of models with `query` in their names; before each, which place lists it."""


class StatementSigner(Protocol):
    """Signs statements (in-toto) with the user's keys, and says who signed one."""

    def names(self) -> list[str]:
        """The names of the user's keys."""

    def sign(
        self, statement: Mapping[str, Any], keys: Sequence[str], passphrase_file: "Path | None"
    ) -> bytes:
        """An envelope (DSSE) over the statement, which is given the public keys as `keys` in its
        predicate. Asks for passphrases at the terminal, unless a file has it. Raises
        :class:`~outlast.core.errors.UsageError`, :class:`NotFoundError` and :class:`BadKeyError`.
        """

    def check(self, envelope: bytes) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """The statement, and the fingerprints of the keys that it names, all of which signed it:
        whether they count is for the reader to say. Raises
        :class:`~outlast.core.errors.MalformedError` and :class:`BadSignatureError`.
        """


CountryOf = Callable[[str], str]
"""The country from which an organisation of a hub is run: two letters of ISO 3166-1, or
"unknown"."""


class Command(NamedTuple):
    """A command: ``module:attribute`` of its click command, and its line in ``outlast --help``."""

    target: str
    text: str


class Listed(NamedTuple):
    """A feature in the list: `name` is its section in the configuration, `target` the
    ``module:attribute`` of its :class:`Feature`, and `section` that of the
    :class:`~outlast.cli.config.section.ConfigSection` that declares its settings, if it has any.
    `gate` is that of a function that makes the rules of an archive, given its folder and the
    feature's settings: None where those name no rules. `rules`: the file in the archive's folder
    that has rules whatever the configuration says.
    `assessor` is that of a function that makes a :class:`~outlast.core.claims.Assessor` of an
    archive and the feature's settings: one feature at most has it. `recorder` is that of a function
    that makes a :class:`~outlast.store.evidence.acquisition.Recorder` of the same: likewise.
    `weigher` and `names` are those of functions that make a :class:`~outlast.core.claims.Weigher`
    and the :class:`~outlast.core.names.KnownNames` of an archive: likewise. `finder` is that of its
    :class:`Finder`, if it has one. `countries` is that of a function that makes a
    :data:`CountryOf` of an archive's folder and the feature's settings: one at most has it.
    `reports` is that of a function that says what runs of it on an archive, given its folder: a
    :class:`~outlast.cli.screen.status_tables.Reported`. `signer` is that of a function that makes a
    :class:`StatementSigner`: one at most has it.
    """

    name: str
    target: str
    commands: Mapping[str, Command] = {}
    section: str = ""
    gate: str = ""
    rules: str = ""
    assessor: str = ""
    recorder: str = ""
    weigher: str = ""
    names: str = ""
    finder: str = ""
    countries: str = ""
    reports: str = ""
    signer: str = ""

    def load(self) -> Feature:
        """Imports it."""
        feature: Feature = load(self.target)
        return feature


def load(target: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def gate_of(features: Sequence[Listed], settings: Mapping[str, Any], home: "Path") -> "Gate":
    """The rules of the archive in `home`; `settings` are those of the features that the
    configuration names. A feature is imported only if it is one of those, or the archive has rules
    of its own.
    """
    for feature in features:
        if not feature.gate:
            continue
        said = settings.get(feature.name)
        if said is None:
            from outlast.store.disk import is_named  # noqa: PLC0415 - help does without

            if not is_named(home / feature.rules):
                continue
            said = feature.load().settings({})
        gate: Gate | None = load(feature.gate)(home, said)
        if gate is not None:
            return gate
    from outlast.core.policy import OPEN  # noqa: PLC0415 - help does without

    return OPEN


def assessor_of(
    features: Sequence[Listed], settings: Callable[[Listed], Any], archive: "Archive"
) -> "Assessor | None":
    """What says which claims hold in an archive; None where no feature does. `settings` gives
    those of a feature.
    """
    for listed in features:
        if listed.assessor:
            found: Assessor = load(listed.assessor)(archive, settings(listed))
            return found
    return None


@dataclass(frozen=True, slots=True)
class LateRecorder:
    """Implements :class:`~outlast.store.evidence.acquisition.Recorder`: loads the feature that
    keeps evidence of pulls with the first one. `settings` gives those of a feature.
    """

    features: Sequence[Listed]
    settings: Callable[[Listed], Any]
    archive: "Archive"

    def wants_commit(self, repo: "RepoId", commit: "GitOid") -> bool:
        found = self._loaded()
        return found is not None and found.wants_commit(repo, commit)

    def record(self, acquired: "Acquisition") -> str:
        found = self._loaded()
        return "" if found is None else found.record(acquired)

    def _loaded(self) -> "Recorder | None":
        for listed in self.features:
            if listed.recorder:
                found: Recorder = load(listed.recorder)(self.archive, self.settings(listed))
                return found
        return None


def statement_signer_of(features: Sequence[Listed]) -> "StatementSigner | None":
    """What signs statements with the user's keys; None where no feature has any."""
    for listed in features:
        if listed.signer:
            found: StatementSigner = load(listed.signer)()
            return found
    return None


def country_of(
    features: Sequence[Listed], settings: Callable[[Listed], Any], home: "Path"
) -> CountryOf | None:
    """What says who publishes from where, by the tables of the archive in `home`; None where no
    feature does. `settings` gives those of a feature.
    """
    for listed in features:
        if listed.countries:
            found: CountryOf = load(listed.countries)(home, settings(listed))
            return found
    return None


class LateWeigher:
    """Implements :class:`~outlast.core.claims.Weigher`: loads the feature that checks signatures
    with the first statement. Thread-safe.
    """

    def __init__(self, features: Sequence[Listed], archive: "Archive") -> None:
        self._target = next((one.weigher for one in features if one.weigher), "")
        self._archive = archive
        self._found: Weigher | None = None

    def weigh(self, repo: "RepoId", manifest: "Digest", data: bytes) -> "Weighed":
        from outlast.core.claims import Weighed, Weight  # noqa: PLC0415 - help does without

        if not self._target:
            return Weighed(Weight.NOTHING)
        if self._found is None:  # two threads may each make one: they say the same
            self._found = load(self._target)(self._archive)
        return self._found.weigh(repo, manifest, data)


def names_of(features: Sequence[Listed], archive: "Archive") -> "KnownNames | None":
    """The names that a feature knows beside those that are archived."""
    for listed in features:
        if listed.names:
            found: KnownNames = load(listed.names)(archive)
            return found
    return None


class LateNames:
    """Implements :class:`~outlast.core.names.KnownNames`: loads the feature that knows names
    when one is compared. Thread-safe.
    """

    def __init__(self, features: Sequence[Listed], archive: "Archive") -> None:
        self._features = features
        self._archive = archive
        self._found: KnownNames | None = None

    def stamp(self) -> object:
        found = self._load()
        return None if found is None else found.stamp()

    def names(self) -> "Iterable[KnownName]":
        found = self._load()
        return () if found is None else found.names()

    def _load(self) -> "KnownNames | None":
        if self._found is None:
            self._found = names_of(self._features, self._archive)
        return self._found


def finders(features: Sequence[Listed]) -> list[Finder]:
    """Those of all features."""
    return [load(feature.finder) for feature in features if feature.finder]


def commands(features: Sequence[Listed]) -> dict[str, Command]:
    """The commands of all features, by name."""
    return {name: command for feature in features for name, command in feature.commands.items()}
