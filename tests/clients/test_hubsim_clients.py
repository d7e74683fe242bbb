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
from tests.clients.run import run_hub
from tests.hubsim import HubRepo, HubSim, add_alias

pytestmark = pytest.mark.clients

FILE = {"repo_id": MODEL, "filename": "model.safetensors"}
LARGE = 25 << 20


class TestPlain(HubContract):
    """Every file comes from the hub itself."""

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


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return build_sample(tmp_path / "root")


@pytest.fixture(params=HUB_CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_no_token_reaches_the_cdn(client: str, sample: Sample, tmp_path: Path) -> None:
    sample.repo(MODEL).configure(private=True)
    with HubSim(sample.root, mode="thread", cdn=True, token="good") as hub:
        (told,) = run_hub(client, hub.url, tmp_path, [("download", FILE)], token="good")
        assert told == {"value": digest(WEIGHTS)}
        assert all(entry.has_auth for entry in hub.requests(listener="hub"))
        assert [entry.has_auth for entry in hub.requests(listener="cdn")] == [False]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("good", [None, None, "RepositoryNotFoundError"]),
        ("poor", ["GatedRepoError", "GatedRepoError", "RepositoryNotFoundError"]),
        (None, ["GatedRepoError", "GatedRepoError", "HfHubHTTPError"]),
    ],
)
def test_gated_and_missing_repos(
    client: str, sample: Sample, tmp_path: Path, token: str | None, expected: list[str | None]
) -> None:
    sample.repo(GATED).commit({"config.json": b"{}"})
    sample.repo(GATED).configure(gated="manual")
    config = {"filename": "config.json"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("download", {"repo_id": GATED, **config}),
        ("auth_check", {"repo_id": GATED}),
        ("download", {"repo_id": "org/none", **config}),
    ]
    with HubSim(sample.root, mode="thread", token="good", limited_token="poor") as hub:
        told = run_hub(client, hub.url, tmp_path, calls, token=token)
    assert [one.get("error") for one in told] == expected


def test_short_commit_ids(client: str, sample: Sample, tmp_path: Path) -> None:
    short = sample.first.sha[:7]
    config = {"repo_id": MODEL, "filename": "old.txt", "revision": short}
    calls = [("download", config), ("snapshot", {"repo_id": MODEL, "revision": short})]
    with HubSim(sample.root, mode="thread") as hub:
        download, snapshot = run_hub(client, hub.url, tmp_path, calls)
    assert download == {"value": digest(b"old\n")}
    assert snapshot["value"]["name"] == sample.first.sha


def test_a_renamed_repo_is_found(client: str, sample: Sample, tmp_path: Path) -> None:
    add_alias(sample.root, "old/name", MODEL)
    calls = [("snapshot", {"repo_id": "old/name"}), ("models", {"search": "mod"})]
    with HubSim(sample.root, mode="thread") as hub:
        snapshot, models = run_hub(client, hub.url, tmp_path, calls)
    assert snapshot["value"]["name"] == sample.head.sha
    assert models == {"value": [MODEL]}


# What follows holds clients to what was seen of them, as `outlast serve` is built for that.
CHUNK = 10 << 20  # clients write, and so resume, in steps of this many bytes


@pytest.fixture
def large(tmp_path: Path) -> HubRepo:
    """A repo with a file of more than two steps; its bytes are a hole, so it costs no disk."""
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.truncate(LARGE)
    repo = HubRepo(tmp_path / "large", MODEL)
    repo.commit({FILE["filename"]: hole})
    return repo


def _tries(hub: HubSim) -> list[tuple[int, str | None]]:
    return [(one.status, one.range) for one in hub.requests(method="GET", what="resolve")]


@pytest.mark.parametrize("action", ["truncate", "reset"])
def test_a_broken_download_goes_on_in_the_same_process_only_after_a_clean_close(
    client: str, large: HubRepo, tmp_path: Path, action: str
) -> None:
    rule = {"action": action, "method": "GET", "at": CHUNK + 999, "count": 1}
    with HubSim(tmp_path / "large", mode="thread", faults=[rule]) as hub:
        (told,) = run_hub(client, hub.url, tmp_path, [("download", FILE)])
        if client == "hub0" or action == "reset":
            assert "error" in told
            assert _tries(hub) == [(200, None)]
        else:
            assert told["value"] == [LARGE, large.head.files[FILE["filename"]].sha256]
            assert _tries(hub) == [(200, None), (206, f"bytes={CHUNK}-")]


def test_a_stopped_download_goes_on_in_the_next_process_only_with_the_oldest(
    client: str, large: HubRepo, tmp_path: Path
) -> None:
    rule = {"action": "reset", "method": "GET", "at": CHUNK + 999, "count": 1}
    with HubSim(tmp_path / "large", mode="thread", faults=[rule]) as hub:
        for _ in range(2):
            (told,) = run_hub(client, hub.url, tmp_path, [("download", FILE)])
        assert told["value"] == [LARGE, large.head.files[FILE["filename"]].sha256]
        second = (206, f"bytes={CHUNK}-") if client == "hub0" else (200, None)
        assert _tries(hub) == [(200, None), second]


def test_clients_believe_every_byte(client: str, large: HubRepo, tmp_path: Path) -> None:
    rule = {"action": "flip", "method": "GET", "at": 5}
    with HubSim(tmp_path / "large", mode="thread", faults=[rule]) as hub:
        (told,) = run_hub(client, hub.url, tmp_path, [("download", FILE)])
    assert told["value"][0] == LARGE
    assert told["value"][1] != large.head.files[FILE["filename"]].sha256
