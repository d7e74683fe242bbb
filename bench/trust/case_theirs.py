"""python-tuf's own client, on a local folder."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from bench.trust.paths import PATHS


class LocalFetcher(FetcherInterface):
    """python-tuf's client on a local folder."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield Path(unquote(urlsplit(url).path)).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError("there is none", 404) from None


def measure(folder: Path, home: Path) -> dict[str, float]:
    """Theirs of the catalogue in `folder`, into an empty `home`, in seconds of CPU time: what it
    looks up it has verified.
    """
    home.mkdir()
    paths = (folder.parent / PATHS).read_text().split()
    began = time.process_time()
    client = Updater(
        str(home),
        f"file://{folder}/metadata/",
        fetcher=LocalFetcher(),
        bootstrap=(folder / "metadata" / "1.root.json").read_bytes(),
    )
    client.refresh()
    found = sum(client.get_targetinfo(path) is not None for path in paths)
    took = time.process_time() - began
    assert found == len(paths)
    return {"seconds": took}
