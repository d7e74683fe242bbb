"""A second home in Azure Blob Storage: Azurite, Microsoft's emulator, where it is installed."""

import base64
import hashlib
import hmac
import shutil
import subprocess
from collections.abc import Iterator
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import pytest

from outlast.bucket.home import SecondHome
from outlast.bucket.objects import Objects
from outlast.bucket.source import BucketSource
from outlast.codec.merkle import PIECE
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.features.durability.scrub.cursor import ScrubCursor
from outlast.features.durability.scrub.scrub import ScrubWishes
from outlast.features.durability.scrub.store import scrub_store
from outlast.ops.second_home.check import check
from outlast.ops.second_home.copy import copy
from outlast.ops.second_home.listing import listing
from outlast.store.archive import Archive
from tests.bucket.test_second_home import BASE, LARGE, TUNED
from tests.cli.call import until
from tests.ports import free_port
from tests.store import weights
from tests.store.test_cached import bring, key

ACCOUNT: Final = "devstoreaccount1"
SECRET: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Of the emulator, on every machine (its documentation has it)."""
VERSION: Final = "2021-08-06"
CONTAINER: Final = "models"

pytestmark = pytest.mark.skipif(
    shutil.which("azurite-blob") is None, reason="azurite is not installed (npm install azurite)"
)


def make_container(port: int) -> bool:
    """Outlast makes none: it is the operator's. Whether the emulator answers."""
    date = formatdate(usegmt=True)
    head = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
    text = "PUT" + "\n" * 12 + head + f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    key = hmac.digest(base64.b64decode(SECRET), text.encode(), hashlib.sha256)
    headers = {
        "x-ms-date": date,
        "x-ms-version": VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(key).decode()}",
        "Content-Length": "0",
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("PUT", f"/{ACCOUNT}/{CONTAINER}?restype=container", headers=headers)
        return connection.getresponse().status == 201
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[int]:
    """The port of an emulator with a container."""
    port = free_port()
    command = ["azurite-blob", "--inMemoryPersistence", "--skipApiVersionCheck"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--blobHost", "127.0.0.1", "--blobPort", str(port)],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            until(lambda: make_container(port), "the emulator answers")
            yield port
        finally:
            process.terminate()


def opened(port: int) -> SecondHome:
    from obstore.store import AzureStore  # noqa: PLC0415 - of the extra [s3]

    store = AzureStore.from_url(
        f"az://{CONTAINER}/arch",
        account_name=ACCOUNT,
        account_key=SECRET,
        endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}",
        client_options={"allow_http": True},
    )
    return SecondHome(Objects(store, f"az://{CONTAINER}/arch"))


def test_all_of_it_goes_there_comes_back_and_is_mended(container: int, tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive:
        bring(archive, key("base"), BASE, LARGE, mark=False)
        bring(archive, key("tuned"), TUNED, b"{}", b"", mark=False)
        with archive.writer() as writer:
            weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
        home = opened(container)
        assert copy(archive, [], home, Control()).sent == 5
        assert copy(archive, [], opened(container), Control()).sent == 0
        assert check(opened(container), [], Control()).problems == ()
        assert [line.complete for line in listing(opened(container))] == [True, True]
        assert home.identity() == opened(container).identity()

        source = BucketSource(opened(container))
        listed = source.describe(key("base")[0], "main")
        entry = next(one for one in listed.entries if one.sha256 == Digest.of(LARGE))
        reader = source.open(key("base")[0], listed.commit, entry, PIECE, 2 * PIECE)
        piece = memoryview(bytearray(PIECE))
        assert reader.readinto(piece) == PIECE
        assert piece == LARGE[PIECE : 2 * PIECE]

        name = home.blob_name(Digest.of(LARGE), capsule=False)
        home.objects.put_parts(name, len(LARGE), [bytes(len(LARGE))])
        with ScrubCursor(archive.layout.home, store="az") as cursor:
            result = scrub_store(
                opened(container), archive, cursor, ScrubWishes(), Control(), mends=True
            )
        assert [(one.path, one.mended) for one in result.found] == [(name, True)]
        assert check(opened(container), [], Control()).problems == ()
