"""What a capsule may depend on."""

from pathlib import Path

import pytest

from outlast.codec.format import BaseRef
from outlast.codec.hashing import names_of
from outlast.core.digest import Digest
from outlast.core.errors import TooDeepError
from outlast.store.archive import Archive


def test_a_blob_does_not_depend_on_itself(tmp_path: Path) -> None:
    data = b"weights"
    with Archive(tmp_path / "archive", create=True) as archive, archive.writer() as writer:
        archive.put(writer, data, names_of(data))
        digest = Digest.of(data)
        with pytest.raises(TooDeepError, match="itself"):
            archive.forms.check(digest, [BaseRef(digest, len(data))])
