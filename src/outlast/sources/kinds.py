"""The kinds of sources that users name: a hub by its URL, others as ``KIND+URL``, a bucket as
``s3://BUCKET/PREFIX``, a bundle on this machine as ``bundle:FOLDER``.

A kind has one line in `KINDS`, and a function that imports its module when a source of that kind is
opened: reading the configuration costs no import of a client. `SHORT` has the public addresses that
go by one word.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from outlast.core.errors import BadConfigError, BadNameError
from outlast.core.names import RepoId, check_path
from outlast.sources.settings import origin

if TYPE_CHECKING:
    from outlast.sources.base import Source
    from outlast.sources.http import HttpClient

HUB: Final = "hub"
_FOLDER: Final = "folder"
S3: Final = "s3"
BUNDLE: Final = "bundle"
STORE: Final = "store"
"""Second homes of archives; `app` opens them, because they know the layout of an archive."""
ITSELF: Final = "."
"""The other name of a model whose files lie in the folder itself, not in one by its name."""


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """Where a source is: its kind, its URL, and the name that the one model which is asked for has
    there, if that is another (else empty).
    """

    kind: str
    url: str
    other_name: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine: `url` is the path of a folder then."""
        return self.kind == BUNDLE and "://" not in self.url

    def __str__(self) -> str:
        name = f"={self.other_name}" if self.other_name else ""
        is_whole = self.kind in {HUB, S3}  # the URL says of which kind it is
        if self.is_local:
            return f"{self.kind}:{self.url}{name}"
        return f"{self.url if is_whole else f'{self.kind}+{self.url}'}{name}"


Make: TypeAlias = "Callable[[HttpClient, SourceAddress, str | None], Source]"


def _hub(http: "HttpClient", at: SourceAddress, token: str | None) -> "Source":
    from outlast.sources.hub import HubSource  # noqa: PLC0415 - as each kind: when it is opened

    return HubSource(http, at.url, token)


def _modelscope(http: "HttpClient", at: SourceAddress, token: str | None) -> "Source":
    from outlast.sources.modelscope import ModelScopeSource  # noqa: PLC0415
    from outlast.sources.renamed import renamed  # noqa: PLC0415

    return renamed(ModelScopeSource(http, at.url, token), at.other_name)


def _folder(http: "HttpClient", at: SourceAddress, token: str | None) -> "Source":
    from outlast.sources.folder import FolderSource  # noqa: PLC0415

    return FolderSource(http, at.url, token, at.other_name)


def _oci(http: "HttpClient", at: SourceAddress, token: str | None) -> "Source":
    from outlast.sources.registries.oci import OciSource  # noqa: PLC0415
    from outlast.sources.renamed import renamed  # noqa: PLC0415

    return renamed(OciSource(http, at.url, token), at.other_name)


def _ollama(http: "HttpClient", at: SourceAddress, token: str | None) -> "Source":
    from outlast.sources.registries.ollama import OllamaSource  # noqa: PLC0415
    from outlast.sources.renamed import renamed  # noqa: PLC0415

    return renamed(OllamaSource(http, at.url, token), at.other_name)


def _s3(http: "HttpClient", at: SourceAddress, token: str | None) -> "Source":
    from outlast.sources.s3 import s3_source  # noqa: PLC0415

    return s3_source(http, at, token)


def _bundle(http: "HttpClient", at: SourceAddress, _token: str | None) -> "Source":
    from outlast.sources.bundle.age import Keyring  # noqa: PLC0415
    from outlast.sources.bundle.source import BundleSource  # noqa: PLC0415
    from outlast.sources.renamed import renamed  # noqa: PLC0415

    keys = Keyring(http.settings.identity)
    if at.is_local:
        return renamed(BundleSource.of_folder(at.url, keys), at.other_name)
    return renamed(BundleSource.of_url(http, at.url, keys), at.other_name)


KINDS: Final[Mapping[str, Make]] = {
    HUB: _hub,
    "modelscope": _modelscope,
    _FOLDER: _folder,
    S3: _s3,
    "oci": _oci,
    "ollama": _ollama,
    BUNDLE: _bundle,
}
"""What makes a source of each kind, for its address and with the token for it. A source that sends
a token has to be an `AccessSource`: a mirror asks it without.
"""
_HUBS: Final = frozenset({HUB, "modelscope", "oci", "ollama"})
"""Those that publishers put their models on, and that name revisions themselves."""
SHORT: Final[Mapping[str, SourceAddress]] = {
    "modelscope": SourceAddress("modelscope", "https://www.modelscope.cn"),
    "docker": SourceAddress("oci", "https://registry-1.docker.io"),
    "ollama": SourceAddress("ollama", "https://registry.ollama.ai"),
}
"""Public places, by the word that stands for each."""


def parse_source(text: str) -> SourceAddress:
    """Reads ``URL`` (a hub), ``KIND+URL``, ``KIND+URL=NAME``, ``s3://BUCKET/PREFIX``, also with
    ``=NAME``, ``bundle:FOLDER``, and the words of `SHORT`. The URL is not checked. Raises
    :class:`BadConfigError`.
    """
    word, _, name = text.partition("=")
    if word in SHORT:
        known = SHORT[word]
        return SourceAddress(known.kind, known.url, _checked_name(known.kind, name, text))
    if text.startswith(f"{BUNDLE}:") and len(text) > len(BUNDLE) + 1:
        return SourceAddress(BUNDLE, text[len(BUNDLE) + 1 :])
    scheme, rest, _ = text.partition("://")
    if not rest:
        raise BadConfigError(f"no such source: {text[:200]!r}", hint=f"known: {_known()}")
    if scheme == S3:
        url, _, name = text.partition("=")
        return SourceAddress(S3, url, _checked_name(S3, name, text))
    kind, plus, _ = scheme.partition("+")
    if not plus:
        return SourceAddress(HUB, text)
    if kind not in {*KINDS, STORE} or kind == S3:
        raise BadConfigError(f"no kind of source: {kind[:40]!r}", hint=f"known: {_known()}")
    url, _, name = text[len(kind) + 1 :].partition("=")
    return SourceAddress(kind, url, _checked_name(kind, name, text))


def is_hub(name: str) -> bool:
    """Whether the source of that name is a hub or a registry."""
    try:
        return parse_source(name).kind in _HUBS
    except BadConfigError:
        return False


def place_of(text: str) -> tuple[str, str, int]:
    """What the token for a source is for: the scheme, host and port of its URL, whatever its kind;
    of a bucket, the bucket. A folder has no token.
    """
    at = parse_source(text)
    if at.is_local:
        return BUNDLE, "", 0
    if at.kind == STORE:
        return STORE, at.url, 0
    return (S3, at.url.split("/")[2], 0) if at.kind == S3 else origin(at.url)


def open_source(http: "HttpClient", text: str, token: str | None) -> "Source":
    """The source that `text` names, asked with `token`. Raises :class:`BadConfigError`."""
    at = parse_source(text)
    return KINDS[at.kind](http, at, token)


def in_order(named: "Iterable[tuple[str, Source]]") -> "list[Source]":
    """Sources that are asked for one thing, with what each is called. The first says what names
    stand for, and so do those that share its names, as all hubs do; the others give bytes alone.
    """
    from outlast.sources.bytes_alone import bytes_alone  # noqa: PLC0415

    found = [(parse_source(text), source) for text, source in named]
    return [
        source if _names_at(at) == _names_at(found[0][0]) else bytes_alone(source)
        for at, source in found
    ]


def _names_at(at: SourceAddress) -> str:
    """Whose names a source knows its models by."""
    return HUB if at.kind == HUB else f"{at.kind}+{at.url}"


def _checked_name(kind: str, name: str, text: str) -> str:
    """`name`, if a model can have it in a source of that `kind`."""
    if not name and "=" not in text:
        return ""
    try:
        if kind not in {_FOLDER, S3}:  # in which a model has a path in place of a name
            return str(RepoId.parse(name))
        return name if name == ITSELF else check_path(name)
    except BadNameError as error:
        raise BadConfigError(
            f"not the name of a model in {text[:200]!r}: {error}",
            hint="write KIND+URL=org/name with the name that the model has there",
        ) from None


def _known() -> str:
    kinds = [f"{kind}+URL" for kind in (*KINDS, STORE) if kind not in {HUB, S3}]
    return ", ".join(["URL of a hub", *kinds, "s3://BUCKET", "bundle:FOLDER", *SHORT])
