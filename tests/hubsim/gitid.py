"""Ids as git makes them: blobs, trees, commits, and the pointer files of git LFS."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

_CHUNK = 1 << 20
Tree = dict[str, "str | Tree"]


def git_id(kind: str, payload: bytes) -> str:
    """The sha1 that git gives to an object of this kind."""
    return hashlib.sha1(f"{kind} {len(payload)}\0".encode() + payload).hexdigest()


def hash_source(source: bytes | Path, *, lfs: bool) -> str:
    """The sha256 of an LFS file's bytes, the git blob id of any other; files are streamed."""
    if isinstance(source, bytes):
        return _hash_bytes(source, lfs=lfs)
    size = source.stat().st_size
    digest = hashlib.sha256() if lfs else hashlib.sha1(f"blob {size}\0".encode())
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@functools.lru_cache(maxsize=8)
def _hash_bytes(data: bytes, *, lfs: bool) -> str:
    """Tests of a module have the same files again and again."""
    return hashlib.sha256(data).hexdigest() if lfs else git_id("blob", data)


def lfs_pointer(sha256: str, size: int) -> bytes:
    """The small file that git itself holds in place of an LFS file."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    )


def is_odd(path: str) -> bool:
    """Whether git could not hold such a path."""
    return any(part in ("", ".", "..") for part in path.split("/"))


def nest(files: Mapping[str, str]) -> Tree:
    """Paths and their blob ids as nested folders; a path that git could not hold stays one name."""
    root: Tree = {}
    for path, oid in files.items():
        folder = root
        *parents, name = [path] if is_odd(path) else path.split("/")
        for parent in parents:
            child = folder.setdefault(parent, {})
            folder = child if isinstance(child, dict) else {}
        folder[name] = oid
    return root


def tree_ids(
    tree: Tree, prefix: str = "", made: Callable[[bytes], object] = bool
) -> dict[str, str]:
    """The id of every folder by its path; the root's path is the empty string. `made` gets the
    bytes of each.
    """
    ids: dict[str, str] = {}
    rows: list[tuple[bytes, bytes]] = []
    for name, child in tree.items():
        raw = name.encode("utf-8", "surrogatepass")
        if isinstance(child, dict):
            path = f"{prefix}{name}"
            ids |= tree_ids(child, f"{path}/", made)
            oid = ids[f"{path}/"]
            ids[path] = ids.pop(f"{path}/")
            rows.append((raw + b"/", b"40000 " + raw + b"\0" + bytes.fromhex(oid)))
        else:
            rows.append((raw, b"100644 " + raw + b"\0" + bytes.fromhex(child)))
    body = b"".join(row for _, row in sorted(rows))
    made(body)
    ids[prefix] = git_id("tree", body)
    return ids


def commit_id(tree: str, parents: list[str], seconds: int, message: str) -> str:
    """The id of a commit made by one fixed author."""
    return git_id("commit", commit_text(tree, parents, seconds, message))


def commit_text(tree: str, parents: list[str], seconds: int, message: str) -> bytes:
    """The bytes of such a commit."""
    who = f"Sim Author <sim@example.invalid> {seconds} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author {who}", f"committer {who}", "", message]
    return "\n".join(lines).encode()
