"""The stand-in hub is to the three majors of huggingface_hub what the hub is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.contract import (
    GATED,
    MODEL,
    WEIGHTS,
    HubContract,
    Sample,
    build_sample,
    digest,
)
from tests.clients.envs import HUB_CLIENTS
from tests.clients.run import Call, run_hub
from tests.hubsim import HubRepo, HubSim, add_alias

pytestmark = pytest.mark.clients

FILE = {"repo_id": MODEL, "filename": "model.safetensors"}
LARGE = 25 << 20


@pytest.mark.torture
class TestPlain(HubContract):
    """Every file comes from the hub itself."""

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls, newest_client: str) -> str:
        return newest_client

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample) -> Iterator[str]:
        with HubSim(sample.root, mode="thread", page_limit=4) as hub:
            yield hub.url


class TestRedirecting(HubContract):
    """As the hub is today: LFS files from the CDN, git files by a relative redirect."""

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample) -> Iterator[str]:
        with HubSim(sample.root, mode="thread", cdn=True, resolve_cache=True) as hub:
            yield hub.url
            assert not any(entry.has_auth for entry in hub.requests(listener="cdn"))


@pytest.fixture(params=HUB_CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


REFUSALS: dict[str | bool, list[str | None]] = {
    False: ["GatedRepoError", "GatedRepoError", "HfHubHTTPError"],
    "poor": ["GatedRepoError", "GatedRepoError", "RepositoryNotFoundError"],
    "good": [None, None, "RepositoryNotFoundError"],
}
"""What clients raise with each token, and without one: for a gated repo's file, for its access, and
for a file of a repo that is not there."""


def _refusable() -> list[Call]:
    config = {"filename": "config.json"}
    return [
        (action, arguments | {"token": token})
        for token in REFUSALS
        for action, arguments in (
            ("download", {"repo_id": GATED, **config}),
            ("auth_check", {"repo_id": GATED}),
            ("download", {"repo_id": "org/none", **config}),
        )
    ]


def test_tokens_and_names(client: str, tmp_path: Path) -> None:
    """Gated, private, missing and renamed repos, and short commit ids."""
    sample = build_sample(tmp_path / "root")
    sample.repo(GATED).commit({"config.json": b"{}"})
    sample.repo(GATED).configure(gated="manual")
    private = HubRepo(sample.root, "org/private")
    private.commit({FILE["filename"]: WEIGHTS})
    private.configure(private=True)
    add_alias(sample.root, "old/name", MODEL)
    short = {"repo_id": MODEL, "revision": sample.first.sha[:7]}
    calls: list[Call] = [
        *_refusable(),
        ("download", FILE | {"repo_id": "org/private"}),
        ("download", short | {"filename": "old.txt"}),
        ("snapshot", short),
        ("snapshot", {"repo_id": "old/name"}),
        ("models", {"search": "mod"}),
    ]
    with HubSim(sample.root, mode="thread", cdn=True, token="good", limited_token="poor") as hub:
        results = run_hub(client, hub.url, tmp_path, calls, token="good")
        at_hub = hub.requests(listener="hub", repo="org/private")
        at_cdn = hub.requests(listener="cdn")
    errors = [one.get("error") for one in results[:9]]
    assert errors == [error for expected in REFUSALS.values() for error in expected]
    download, old, first, renamed, models = results[9:]
    assert download == {"value": digest(WEIGHTS)}
    assert at_hub
    assert all(entry.has_auth for entry in at_hub)
    assert at_cdn
    assert not any(entry.has_auth for entry in at_cdn)
    assert old == {"value": digest(b"old\n")}
    assert first["value"]["name"] == sample.first.sha
    assert renamed["value"]["name"] == sample.head.sha
    assert models == {"value": [MODEL]}


# What follows holds clients to what was seen of them, as `outlast serve` is built for that.
CHUNK = 10 << 20  # clients write, and so resume, in steps of this many bytes


BROKEN = {"truncate": "a.safetensors", "reset": "b.safetensors", "flip": "c.safetensors"}


@pytest.fixture
def large(tmp_path: Path) -> HubRepo:
    """A repo with files of more than two steps; their bytes are a hole, so they cost no disk."""
    holes = {name: tmp_path / name for name in BROKEN.values()}
    for more, hole in enumerate(holes.values()):
        with hole.open("wb") as file:
            file.truncate(LARGE + more)  # clients keep what is alike once
    repo = HubRepo(tmp_path / "large", MODEL)
    repo.commit(holes)
    return repo


def test_broken_downloads(client: str, large: HubRepo, tmp_path: Path) -> None:
    """A download goes on in the same process only after a clean close, and in the next one only
    with the oldest client; and clients believe every byte.
    """
    at = {"truncate": CHUNK + 999, "reset": CHUNK + 999, "flip": 5}
    rules: list[dict[str, Any]] = [
        {"action": action, "file": file, "method": "GET", "at": at[action], "count": 1}
        for action, file in BROKEN.items()
    ]
    calls = {
        action: ("download", {"repo_id": MODEL, "filename": file})
        for action, file in BROKEN.items()
    }
    files = {action: large.head.files[file] for action, file in BROKEN.items()}
    whole = {action: [file.size, file.sha256] for action, file in files.items()}
    with HubSim(tmp_path / "large", mode="thread", faults=rules) as hub:

        def tries(action: str) -> list[tuple[int, str | None]]:
            asked = hub.requests(method="GET", what="resolve", file=BROKEN[action])
            return [(one.status, one.range) for one in asked]

        told = dict(
            zip(calls, run_hub(client, hub.url, tmp_path, list(calls.values())), strict=True)
        )
        if client == "hub0":
            assert "error" in told["truncate"]
            assert tries("truncate") == [(200, None)]
        else:
            assert told["truncate"]["value"] == whole["truncate"]
            assert tries("truncate") == [(200, None), (206, f"bytes={CHUNK}-")]
        assert "error" in told["reset"]
        assert tries("reset") == [(200, None)]
        assert told["flip"]["value"][0] == whole["flip"][0]
        assert told["flip"]["value"][1] != whole["flip"][1]

        (again,) = run_hub(client, hub.url, tmp_path, [calls["reset"]])
        assert again["value"] == whole["reset"]
        second = (206, f"bytes={CHUNK}-") if client == "hub0" else (200, None)
        assert tries("reset") == [(200, None), second]
