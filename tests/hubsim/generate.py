"""Repos that are large, or that mean harm."""

from pathlib import Path

from tests.hubsim.repo import Commit, HubFile, HubRepo, Kind

WIDE_NAMES = (
    "a/C1_or_C2?_premise/x.json",
    "a\\b.txt",
    "..\\escape.txt",
    "C:\\Windows\\system.txt",
    "C:drive.txt",
    "CON",
    "aux.txt",
    "trailing. ",
    "stream.txt:alternate",
    "Twin.txt",
    "twin.TXT",
    "caf\u00e9.txt",
    "cafe\u0301.txt",
    "right\u202eleft.txt",
    "literal%3F.txt",
    "Folder",
    "folder/below-a-twin.txt",
)
"""Git has them, and so have hubs, though not every file system."""
UNSAFE_NAMES = (
    "../escape.txt",
    "a/../../escape.txt",
    "/absolute.txt",
    "nul\0byte.txt",
    "new\nline.txt",
    "escape\x1b[31m.txt",
    "dot/./dot.txt",
    "double//slash.txt",
    ".",
    "",
    ".git/config",
    "long-" + "n" * 4091,
    "deep/" * 500 + "file.txt",
)
HOSTILE_NAMES = (*WIDE_NAMES, *UNSAFE_NAMES, "file", "file/below-a-file.txt")
"""Those and a file that is a folder too. No git has both, nor the unsafe ones."""
HOSTILE_SIZES = (-1, 2**63, 2**64, 1.5, "12", None)


def many_files_repo(
    root: Path | str, repo_id: str = "org/many", *, files: int = 10_000, kind: Kind = "model"
) -> Commit:
    """A repo of many tiny files, a hundred to a folder."""
    repo = HubRepo(root, repo_id, kind=kind)
    return repo.commit(
        {f"part-{i // 100:04d}/file-{i:06d}.txt": f"file {i}\n".encode() for i in range(files)}
    )


def hostile_repo(root: Path | str, repo_id: str = "org/hostile", *, kind: Kind = "model") -> Commit:
    """A repo whose listing holds names and sizes that no honest hub has, beside an honest file."""
    repo = HubRepo(root, repo_id, kind=kind)
    named = dict.fromkeys(HOSTILE_NAMES, b"hostile\n")
    sized = {
        f"size-{number}.bin": HubFile(b"hostile\n", listed={"size": size})
        for number, size in enumerate(HOSTILE_SIZES)
    }
    return repo.commit({"config.json": b"{}\n", **named, **sized})
