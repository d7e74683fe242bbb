"""A mirror whose upstream is no hub: clients get it under the hub's API all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.serve.node import Node
from tests.serve.upstream import target
from tests.serve.wire import once
from tests.sourcesim import Model, ModelScopeSim

WEIGHTS = noise(1, 200_000)
FILES = {"config.json": b"{}", "model.bin": WEIGHTS}
COMMIT = "a" * 40


@pytest.fixture
def site() -> Iterator[ModelScopeSim]:
    open_one = Model({COMMIT: FILES}, {"master": COMMIT}, {"v1": COMMIT})
    secret = Model({COMMIT: {"secret.bin": WEIGHTS[::-1]}}, {"master": COMMIT}, token="ms-right")
    with ModelScopeSim({"org/name": open_one, "org/secret": secret}) as site:
        yield site


def test_modelscope_behind_the_hubs_api(site: ModelScopeSim, tmp_path: Path) -> None:
    """The operator's token opens nothing to clients, and is sent for none of them."""
    config = tmp_path / "config.toml"
    config.write_text(f'[tokens]\n"{site.url}" = "ms-right"\n')
    env = {"OUTLAST_CONFIG": str(config)}
    with Node(tmp_path / "home", "--upstream", f"modelscope+{site.url}", env=env) as node:
        for ref in ("main", "v1", COMMIT):
            for path, data in FILES.items():
                answer = once(node.url, target(path, "org/name", ref))
                assert (answer.status, answer.body) == (200, data)
                assert answer.headers["x-repo-commit"] == COMMIT
        answer = once(node.url, target("secret.bin", "org/secret"))
        assert answer.status in {401, 403, 404}
        assert {one.token for one in site.asked} == {""}
        answer = once(node.url, "/none/model/resolve/main/config.json")
        assert answer.status in {401, 404}
        assert node.stop() == 0


def test_a_namesake_of_a_private_model_is_not_served_in_its_place(
    site: ModelScopeSim, tmp_path: Path
) -> None:
    """The hub keeps it private, or is down: what another site calls so is another model."""
    repo = HubRepo(tmp_path / "hub", "org/name", private=True)
    repo.commit({"config.json": b"private"})
    with HubSim(tmp_path / "hub", mode="thread", token="hf_right") as hub:
        upstreams = ("--upstream", hub.url, "--upstream", f"modelscope+{site.url}")
        with Node(tmp_path / "home", *upstreams) as node:
            down = {"action": "status", "status": 503}
            for rule in (None, down):
                hub.set_faults([rule] if rule else [])
                answer = once(node.url, target("config.json", "org/name"))
                assert answer.status in {401, 404, 503, 504}
            assert node.stop() == 0
    assert site.asked == []


def test_a_hub_names_the_commit_and_another_kind_sends_the_bytes(
    site: ModelScopeSim, tmp_path: Path
) -> None:
    made = HubRepo(tmp_path / "hub", "org/name").commit({**FILES, "model.safetensors": WEIGHTS})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        hub.set_faults([{"action": "status", "status": 404, "what": "resolve"}])
        upstreams = ("--upstream", hub.url, "--upstream", f"modelscope+{site.url}")
        with Node(tmp_path / "home", *upstreams) as node:
            answer = once(node.url, target("model.safetensors", "org/name"))
            assert (answer.status, answer.body) == (200, WEIGHTS)
            assert answer.headers["x-repo-commit"] == made.sha
            assert node.stop() == 0
