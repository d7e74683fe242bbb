"""What features add to a server: handlers, and services beside it."""

import json
from pathlib import Path

from tests.clients.contract import MODEL
from tests.serve.conftest import Served
from tests.serve.node import Node

SAMPLE = "tests.features.sample:LISTED"


def test_services_and_mounts_of_a_server(served: Served, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.symlink_to(served.node.home)
    with Node(home, features=[SAMPLE]) as node:
        answer = node.get("/sample/models")
        assert answer.status == 200
        assert json.loads(answer.body)["greeting"] == "hello"
        assert MODEL in json.loads(answer.body)["models"]
        assert node.get("/sample").status == 404
        assert node.get("/sample/bug").status == 500
        assert node.get("/sample/models", "POST").status == 405
        assert node.get("/samples").headers.get("X-Error-Code") == "RepoNotFound"
        # A file of a model of an organisation with that name stays the hub's.
        lost = node.get("/sample/model/resolve/main/config.json")
        assert (lost.status, lost.headers.get("X-Error-Code")) == (401, "RepoNotFound")
        assert node.get(f"/{MODEL}/resolve/main/config.json").status == 200
        assert node.stop() == 0
        assert [line["what"] for line in node.access()][:3] == ["sample", "sample", "sample"]
        assert any("ZeroDivisionError" in line for line in node.lines())
    lines = (tmp_path / "services.log").read_text().splitlines()
    assert lines == ["one starts: hello", "two starts: hello", "two ends", "one ends"]


def test_a_mount_asks_for_the_token(served: Served, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.symlink_to(served.node.home)
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame\n")
    with Node(home, "--tokens", str(tokens), features=[SAMPLE]) as node:
        assert node.get("/sample/models").status == 401
        assert node.get("/sample/models", Authorization="Bearer sesame").status == 200
