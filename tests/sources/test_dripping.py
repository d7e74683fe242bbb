"""A source of any kind that sends one byte after the other keeps nothing waiting: heads, where a
redirect leads, bodies, and what frames these.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import OutlastError
from outlast.core.names import RepoId
from outlast.core.threads import beside
from outlast.sources.folder import FolderSource
from outlast.sources.git.upload_pack import GitRepository
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.in_time import HeadInTime
from outlast.sources.modelscope import ModelScopeSource
from outlast.sources.peer import PeerSource
from outlast.sources.registries.oci import OciSource
from outlast.sources.registries.ollama import OllamaSource
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import Tuning
from tests.pull.test_slow import dripping
from tests.serve.node import SECONDS

REPO: Final = RepoId.parse("org/name")
COMMIT: Final = GitOid("1" * 40)
SOON: Final = Tuning(
    head_s=0.2, answer_s=0.2, large_answer_s=0.2, listing_s=0.2, git_s=0.2, least_bytes=1
)
HEADS: Final = {
    "head": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;extension=",
}


def _asked(make: Callable[[HttpClient, str], object]) -> Callable[[HttpClient, str], object]:
    return lambda http, url: make(http, url).describe(REPO, "main")  # type: ignore[attr-defined]


KINDS: Final[dict[str, Callable[[HttpClient, str], object]]] = {
    "hub": _asked(lambda http, url: HubSource(http, url, None, SOON)),
    "peer": _asked(lambda http, url: PeerSource(http, "127.0.0.1", int(url.split(":")[2]), SOON)),
    "folder": _asked(lambda http, url: FolderSource(http, url, tuning=SOON)),
    "modelscope": _asked(lambda http, url: ModelScopeSource(http, url, None, SOON)),
    "oci": _asked(lambda http, url: OciSource(http, url, None, SOON)),
    "ollama": _asked(lambda http, url: OllamaSource(http, url, None, SOON)),
    "git": lambda http, url: GitRepository(http, url, tuning=SOON).objects(COMMIT, "blob:none"),
}


@pytest.mark.parametrize("what", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_given_up(kind: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadInTime, "head_s", SOON.head_s)
    with (
        dripping(HEADS[what]) as url,
        HttpClient(HttpSettings(proxies={}), tuning=SOON) as http,
    ):
        ended = beside(partial(KINDS[kind], http, url))
        assert isinstance(ended.exception(SECONDS), OutlastError)
