"""What the guide to catalogues shows is what happens, command by command."""

import re
import shlex
from pathlib import Path

from outlast.features.trust.catalogue.making.keyfiles import new_key
from tests.cli.call import Call, inside

GUIDE = (Path(__file__).parents[4] / "docs" / "guide" / "catalogue.md").read_text()
FOLLOWERS = ("follow", "ls", "sync", "pull", "search")
"""Commands of the other machine."""


def test_the_commands(tmp_path: Path) -> None:
    homes = {"operator": tmp_path / "operator", "follower": tmp_path / "follower"}
    for home in homes.values():
        home.mkdir()
    new_key(tmp_path / "qwen.pem", None)

    def do(line: str) -> Call:
        words = shlex.split(line)
        assert words.pop(0) == "outlast"
        verb = words[1] if words[0] == "catalogue" else words[0]
        home = homes["follower" if verb in FOLLOWERS else "operator"]
        return inside(*words, home=home, cwd=tmp_path).ok()

    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    do(f"outlast add {tmp_path / 'tiny'} --as lab/tiny")
    blocks = re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            call = do(command)
            if shown:
                assert shown == call.out.replace(str(tmp_path / "www"), "WWW")
    assert len(blocks) >= 6
