"""``/{id}/raw/{rev}/{path}``: what git holds of a file, as text."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from outlast.core.digest import Digest, GitOid, lfs_pointer
from outlast.core.manifest import FileEntry

HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
"""It is the text of a stranger's file, which no browser may take for a page of ours."""


def pointer(entry: FileEntry, sha256: Digest, commit: str) -> web.Response:
    """What git holds in place of a large file."""
    text = lfs_pointer(sha256, entry.size)
    tag = {"ETag": f'"{GitOid.of_blob(text)}"', "X-Repo-Commit": commit}
    return web.Response(body=text, headers={**tag, **HEADERS})
