"""A web server with folders of files."""

import hashlib
from collections.abc import Mapping
from urllib.parse import quote

from tests.sourcesim.site import Asked, Reply, Site, ranged


def sums(files: Mapping[str, bytes]) -> bytes:
    """``SHA256SUMS`` of `files`."""
    return "".join(
        f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files.items()
    ).encode()


class FolderSim(Site):
    """Serves `files`, by path. Without `ranges` it sends whole files alone; one whose `token` is
    set answers with that alone; with `cdn` it redirects to its other address.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        ranges: bool = True,
        token: str = "",
        cdn: bool = False,
        missing: int = 404,
    ) -> None:
        super().__init__()
        self.files = dict(files)
        self._ranges = ranges
        self._token = token
        self._cdn = cdn
        self._missing = missing

    def answer(self, asked: Asked) -> Reply:
        if self._token and asked.token != self._token and not asked.cdn:
            return Reply(401)
        data = self.files.get(asked.path.removeprefix("/"))
        if data is None:
            return Reply(self._missing)
        if self._cdn and not asked.cdn:
            return Reply(302, b"", {"Location": f"{self.cdn_url}{quote(asked.path)}"})
        return ranged(data, asked) if self._ranges else Reply(200, data)
