"""Git's smart HTTP, answered by the program `git` itself over a repository."""

import os
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path

from tests.hubsim import gitid
from tests.hubsim.catalogue import ServedRepo
from tests.hubsim.reply import Memory, Reply, error_reply
from tests.hubsim.repo import Commit

_SECONDS = 60


def upload_pack(repo: ServedRepo, what: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """What a client of git gets that lists refs (`what` is ``info/refs``), or fetches."""
    place = Path(repo.state.git) if repo.state.git else _repository(repo)
    lists = what == "info/refs"
    command = ["git", "-c", "uploadpack.allowFilter=true", "upload-pack", "--stateless-rpc"]
    done = subprocess.run(
        [*command, *(["--advertise-refs"] if lists else []), str(place)],
        input=body,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, "GIT_PROTOCOL": headers.get("Git-Protocol", "")},
    )
    if done.returncode:
        return error_reply(500, done.stderr.decode(errors="replace")[:500])
    said = done.stdout
    if lists and "version=2" not in headers.get("Git-Protocol", ""):
        said = b"001e# service=git-upload-pack\n0000" + said
    kind = "advertisement" if lists else "result"
    return Reply(200, {"Content-Type": f"application/x-git-upload-pack-{kind}"}, Memory(said))


def _repository(repo: ServedRepo) -> Path:
    """A bare repository with all commits and folders of a repo that is none of git."""
    place = repo.folder / "bare.git"
    if not place.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", str(place)], check=True)
    for sha in repo.state.commits:
        commit = repo.commit(sha)
        if commit is not None and not _path(place, sha).exists():
            _add(place, commit)
    for name, sha in repo.state.branches.items():
        path = place / "refs" / "heads" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{sha}\n")
    return place


def _add(place: Path, commit: Commit) -> None:
    tree = gitid.nest({name: file.oid for name, file in commit.files.items()})
    gitid.tree_ids(tree, made=lambda body: _write(place, "tree", body))
    for file in commit.files.values():
        if file.sha256 is not None:
            _write(place, "blob", gitid.lfs_pointer(file.sha256, file.size))
        else:
            with Path(file.source).open("rb") as source:
                source.seek(file.offset)
                _write(place, "blob", source.read(file.size))
    parents = [commit.parent] if commit.parent else []
    root = commit.folders[""]
    _write(place, "commit", gitid.commit_text(root, parents, commit.seconds, commit.message))


def _write(place: Path, kind: str, body: bytes) -> None:
    path = _path(place, gitid.git_id(kind, body))
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(f"{kind} {len(body)}\0".encode() + body))


def _path(place: Path, oid: str) -> Path:
    return place / "objects" / oid[:2] / oid[2:]
