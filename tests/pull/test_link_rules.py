"""A magnet link is judged by the names in its torrent, before a byte of a file comes."""

from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.features.trust.rules.world import OPEN_RULES, rules_in_archive
from tests.swarm.seeds import make_torrent, write

NO_PICKLE = """
@id("no-pickle") forbid (principal, action, resource)
when { resource.formats.contains("pickle") };
"""


NO_SHARE = """
@id("no-share") forbid (principal, action == Action::"share", resource)
when { resource.publisher == "org" };
"""


@pytest.mark.parametrize(("rule", "name"), [(NO_PICKLE, "no-pickle"), (NO_SHARE, "no-share")])
def test_a_link_is_judged_by_its_names(rule: str, name: str, tmp_path: Path) -> None:
    """Its swarm gives on what comes: who may not share may not take part."""
    inside("add", write(tmp_path / "m", {"a.txt": b"a"}), "--as", "org/m", home=tmp_path).ok()
    rules_in_archive(tmp_path / "archive", OPEN_RULES + rule)
    folder = write(tmp_path / "theirs" / "model", {"weights.bin": b"x" * 40_000})
    torrent = tmp_path / "model.torrent"
    torrent.write_bytes(make_torrent(folder))
    config = tmp_path / "config.toml"
    config.write_text('[swarm]\nprivate = true\npeer-port = 0\npeers = ["127.0.0.1:9"]\n')
    env = {"OUTLAST_SWARM": "1", "OUTLAST_CONFIG": str(config)}
    call = inside("pull", torrent, "--as", "org/theirs", home=tmp_path, env=env)
    assert f"(rule {name})" in call.failed("refused-by-rules")
    assert "org/theirs" not in inside("ls", home=tmp_path).ok().out
