"""How scenes run `outlast`: the program of this Python, on an archive of the scene's own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from demo.story import require, say

PROGRAM: Final = (sys.executable, "-m", "outlast")


def environment(home: Path, **more: str) -> dict[str, str]:
    """That of commands on the archive in `home`, without neighbours."""
    return dict(os.environ, OUTLAST_HOME=str(home), OUTLAST_SWARM="0", **more)


def outlast(env: Mapping[str, str], *arguments: str, status: int = 0) -> str:
    """Shows a command and runs it, which has to end with this status; what it printed."""
    say(f"    $ outlast {' '.join(arguments)}")
    done = subprocess.run(
        [*PROGRAM, *arguments], env=env, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != status:
        require(holds=False, text=f"it ends with status {status}, not {done.returncode}")
    return done.stdout
