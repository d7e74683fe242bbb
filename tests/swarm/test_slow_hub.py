"""A hub that is slow, or fails, while a liar and an eavesdropper are on the LAN."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.mirror.answers import Asking
from outlast.mirror.mirror import Mirror
from outlast.sources.base import Source
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.kinds import open_source
from outlast.sources.settings import HttpSettings
from tests.campaign import in_torture
from tests.hubsim import HubRepo, HubSim
from tests.swarm.overheard import Overheard, overhearing
from tests.swarm.sites import MODEL, Running, Site, site, until

NAME = str(MODEL)
LARGE = Random(5).randbytes((1 << 20) + 9)
FILES = {"config.json": b'{"a": 1}', "weights.bin": LARGE}
LIES = {"config.json": b'{"a": 2}', "weights.bin": LARGE[::-1], "extra.py": b"import evil"}
TOKEN = "hf_ours"
FAILS: dict[str, list[Mapping[str, Any]]] = {
    "hangs": [{"action": "hold", "what": "info"}],
    "drips": [{"action": "slow", "rate": 20, "what": "info"}],
    "500": [{"action": "status", "status": 500}],
    "login page": [{"action": "page"}],
    "no json": [{"action": "malformed_json", "kind": "garbage"}],
    "loops": [{"action": "redirect_loop"}],
}


@pytest.fixture(params=[False, True], ids=["public", "private"])
def private(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def hub(tmp_path: Path, *, private: bool) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", NAME, private=private).commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread", token=TOKEN) as hub:
        yield hub


@pytest.fixture
def commit(hub: HubSim) -> GitOid:
    return GitOid(HubRepo(hub.root, NAME).head.sha)


class Lan:
    """A node that has heard a liar, and a stranger that keeps all it is asked."""

    def __init__(self, node: Site, stranger: Overheard) -> None:
        self.node = node
        self.stranger = stranger
        self.http = HttpClient(HttpSettings(read_timeout=1.0, connect_timeout=1.0))

    def source(self, url: str) -> Source:
        return HubSource(self.http, url, TOKEN)

    def told(self, commit: GitOid) -> list[str]:
        """What the stranger knows of the model."""
        blobs = [Digest.of(data).hex for data in (*FILES.values(), *LIES.values())]
        return self.stranger.knows(NAME, "org%2Fmodel", MODEL.name, commit.hex, *blobs)

    def mirror(self, url: str) -> Mirror:
        return Mirror(self.node.archive, [self.source(url)], around=self.node.around())


@contextmanager
def lan_at(folder: Path, commit: GitOid) -> Iterator[Lan]:
    with ExitStack() as stack:
        liar = stack.enter_context(site(folder / "liar"))
        liar.hold(LIES, commit=commit)
        stranger = stack.enter_context(overhearing())
        node = stack.enter_context(site(folder / "node"))
        node.meet(liar)
        node.node.contacts.meet("127.0.0.1", stranger.port, static=False)
        until(lambda: len(node.around().near()) == 2, "both answer")
        lan = Lan(node, stranger)
        stack.enter_context(lan.http)
        yield lan


@pytest.fixture
def lan(tmp_path: Path, commit: GitOid) -> Iterator[Lan]:
    with lan_at(tmp_path, commit) as lan:
        yield lan


def seek(mirror: Mirror, ref: str) -> None:
    found = mirror.find(MODEL, ref, mirror.access.public)
    if isinstance(found, Asking):
        found.future.exception(60)
        found.settle()


@pytest.mark.parametrize("pinned", [True, pytest.param(False, marks=in_torture)])
@pytest.mark.parametrize("private", [True], indirect=True)
@pytest.mark.parametrize(
    "way", ["hangs", *(pytest.param(way, marks=in_torture) for way in FAILS if way != "hangs")]
)
def test_no_word_of_a_stranger_is_taken(
    lan: Lan, hub: HubSim, commit: GitOid, way: str, *, pinned: bool
) -> None:
    """By a pull and by a mirror; and none is told what is looked for."""
    hub.set_faults(FAILS[way])
    ref = commit.hex if pinned else "main"
    with pytest.raises(OutlastError):
        Running(lambda: lan.node.pull(f"{NAME}@{ref}", lan.source(hub.url))).result()
    with pytest.raises(OutlastError):
        seek(lan.mirror(hub.url), ref)
    assert lan.node.archive.summaries() == []
    assert lan.node.archive.refs.list(MODEL) == []
    assert lan.told(commit) == []


@pytest.mark.parametrize(
    "url",
    [
        "tls",
        *(
            pytest.param(url, marks=in_torture)
            for url in (
                *("https://hub.invalid", "modelscope+http://127.0.0.1:9"),
                "oci+http://127.0.0.1:9",
            )
        ),
    ],
)
@pytest.mark.parametrize("private", [True], indirect=True)
def test_nor_where_none_can_be_reached(lan: Lan, hub: HubSim, commit: GitOid, url: str) -> None:
    """Its name leads nowhere, its certificate is none, or it is a source of another kind."""
    where = hub.url.replace("http:", "https:") if url == "tls" else url
    source = open_source(lan.http, where, None)
    with pytest.raises(OutlastError):
        Running(lambda: lan.node.pull(f"{NAME}@{commit}", source)).result()
    assert lan.node.archive.summaries() == []
    assert lan.told(commit) == []


@pytest.mark.parametrize("seconds", [2.5, pytest.param(10.0, marks=in_torture)])
def test_the_hub_says_what_it_is_when_it_comes(
    lan: Lan, hub: HubSim, commit: GitOid, seconds: float, *, private: bool
) -> None:
    """Until then nothing is told; then the digests of an open model are, and its name never."""
    hub.set_faults([{"action": "delay", "seconds": seconds, "what": "info"}])
    lan.http.settings = HttpSettings(read_timeout=30.0)
    told: list[list[str]] = []
    early = threading.Timer(seconds - 0.5, lambda: told.append(lan.told(commit)))
    early.start()
    Running(lambda: lan.node.pull(f"{NAME}@{commit}", lan.source(hub.url))).result()
    early.join()
    assert told == [[]]
    assert lan.node.files(f"{NAME}@{commit}") == FILES
    assert lan.node.archive.unconfirmed.all() == frozenset()
    assert lan.told(commit) == ([] if private else [Digest.of(LARGE).hex])
