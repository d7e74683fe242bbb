"""A repository in a folder, made and asked through the program `git`."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="git is not installed")
_WHO = {
    "GIT_AUTHOR_NAME": "Ada Author",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_AUTHOR_DATE": "1700000000 +0530",
    "GIT_COMMITTER_NAME": "Cy Committer",
    "GIT_COMMITTER_EMAIL": "cy@example.invalid",
    "GIT_COMMITTER_DATE": "1700000060 -0800",
}


@dataclass(frozen=True)
class Repository:
    """A repository with a work tree in `folder`; no configuration of the machine counts."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> "Repository":
        folder.mkdir(parents=True)
        made = cls(folder)
        made.git("init", "--quiet", "--initial-branch=main")
        return made

    def git(self, *arguments: str, given: bytes = b"") -> bytes:
        """What a command of git prints."""
        assert GIT is not None
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            **_WHO,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "HOME": str(self.folder),
        }
        done = subprocess.run(
            [GIT, "-C", str(self.folder), *arguments],
            input=given,
            capture_output=True,
            check=True,
            env=environment,
        )
        return done.stdout

    def commit(self, files: Mapping[str, bytes], message: str = "Add files", *more: str) -> str:
        """Writes files, commits everything; the id."""
        for name, data in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}", *more)
        return self.id_of("HEAD")

    def id_of(self, name: str) -> str:
        return self.git("rev-parse", name).decode().strip()

    def raw(self, name: str, kind: str = "commit") -> bytes:
        """The bytes of an object."""
        return self.git("cat-file", kind, name)

    def pack(self, *revisions: str, filters: str = "blob:none", deltas: bool = True) -> bytes:
        """A pack of what revisions hold."""
        window = "--window=50" if deltas else "--window=0"
        return self.git(
            "pack-objects", "--stdout", "--revs", f"--filter={filters}", "--delta-base-offset",
            window, "--quiet", given="".join(f"{one}\n" for one in revisions).encode(),
        )  # fmt: skip
