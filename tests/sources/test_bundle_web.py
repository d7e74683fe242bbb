"""A bundle on a web server: what becomes of answers that are read no further."""

import gc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from outlast.sources.bundle.web import WebParts
from tests.sources.test_contract import SOURCES


def test_their_connections_end_with_the_source(tmp_path: Path) -> None:
    """Sources are not closed; the answers are kept for reading on."""
    with SOURCES["bundle on the web"](tmp_path) as given:
        entry = given.entry("model.safetensors")
        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(given.read, entry, n * 100, n * 100 + 50) for n in range(40)]
            assert all(len(one.result()) == 50 for one in done)
    kept = [one for one in gc.get_objects() if isinstance(one, WebParts) and one._idle]
    assert kept, "no answer was kept: nothing is tested"
    vars(kept[0])["cycle"] = kept  # it is collected, in any order, as what an error holds is
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del given, kept
        gc.collect()
    assert [str(one.message) for one in told if one.category is ResourceWarning] == []
