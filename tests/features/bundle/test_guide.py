"""The commands of the guide do what it says."""

import re
import shlex
from pathlib import Path

from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.features.bundle.world import put

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "air-gap.md"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def test_the_guide(tmp_path: Path) -> None:
    """One side writes, the other reads; what the guide calls a medium is a folder of each step."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with Archive(here / "archive", create=True) as archive:
        put(archive, tmp_path / "folders", {"config.json": b"{}"}, "Qwen/Qwen3-0.6B")
    (here / "models.txt").write_text("Qwen/Qwen3-0.6B\n")
    lines = [line for block in _BLOCK.findall(GUIDE.read_text()) for line in block.splitlines()]
    usb = 0
    ran = []
    for line in lines:
        words = shlex.split(line.removeprefix("$ outlast "))
        ran.append(words[0])
        usb += words[0] == "export" and "--dry-run" not in words
        number = 1 if words[0] == "pull" else usb  # the last one builds on what is there
        text = line.replace("/media/usb", str(tmp_path / f"usb{number}"))
        command, _, out = text.removeprefix("$ outlast ").partition(" > ")
        home = here if words[0] == "export" else there
        if words[0] == "inventory":
            inside("import", tmp_path / f"usb{usb}", home=there).ok()
        done = inside(*shlex.split(command), home=home).ok()
        if out:
            (here / out).write_text(done.out)
    assert ran == ["export", "export", "export", "inventory", "export", "import", "pull"]
