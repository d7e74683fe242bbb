"""What of a revision a holder has, by digests."""

from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import FileEntry
from outlast.ops.holders.compare import compare, compare_blobs, shared
from outlast.ops.holders.values import HolderState


def blob(path: str, data: bytes, *, git: bool = False, sha: bool = True) -> FileEntry:
    return FileEntry(
        path,
        len(data),
        sha256=Digest.of(data) if sha else None,
        git_sha1=GitOid.of_blob(data) if git else None,
    )


WEIGHTS, CONFIG, CARD = blob("w.bin", b"weights"), blob("c.json", b"{}", git=True), blob("R", b"#")
WANTED = (WEIGHTS, CONFIG, CARD)


def test_paths_decide_nothing() -> None:
    match = compare(WANTED, [blob("other.bin", b"weights"), blob("x", b"{}"), blob("y", b"#")])
    assert match.state(3) is HolderState.COMPLETE
    assert (match.more, match.changed, match.note) == (0, 0, "")


def test_a_git_id_is_enough() -> None:
    match = compare(WANTED, [blob("c.json", b"{}", git=True, sha=False)])
    assert match.files == {1}
    assert match.state(3) is HolderState.PARTIAL


def test_the_name_with_other_bytes() -> None:
    match = compare(WANTED, [blob("w.bin", b"WEIGHTS"), blob("c.json", b"[]", git=True)])
    assert match.state(3) is HolderState.OTHER_BYTES
    assert (match.files, match.changed, match.more) == (frozenset(), 2, 2)
    assert match.note == "2 files with other bytes"


def test_what_no_common_digest_tells_is_said() -> None:
    """A hub names small files by their git ids, a registry all files by their sha256."""
    hub = [blob("w.bin", b"weights"), blob("c.json", b"{}", git=True, sha=False)]
    match = compare(hub, [blob("w.bin", b"weights"), blob("c.json", b"{}")])
    assert (match.files, match.unsure, match.changed) == (frozenset({0}), 1, 0)
    assert match.note == "1 file cannot be compared: another kind of digest"
    other = compare(hub, [blob("w.bin", b"weights"), blob("c.json", b"{ }")])
    assert (other.unsure, other.changed) == (0, 1)


def test_an_empty_file_proves_nothing() -> None:
    wanted = (WEIGHTS, blob("empty", b""))
    assert compare(wanted, [blob("empty", b"")]).files == frozenset()
    assert compare(wanted, [blob("w.bin", b"weights")]).files == {0, 1}
    assert compare([blob("empty", b"")], [blob("e", b"")]).files == {0}
    assert compare([blob("empty", b"")], []).files == frozenset()


def test_a_claim_of_another_size_does_not_count() -> None:
    assert WEIGHTS.sha256 is not None
    assert CARD.sha256 is not None
    match = compare_blobs(WANTED, {WEIGHTS.sha256: 7, CARD.sha256: 1 << 40})
    assert match.files == {0}


def test_the_largest_files_in_common() -> None:
    many = [blob(f"{n}", bytes(n)) for n in range(1, 20)]
    digests = shared(many, many[:12])
    assert digests == tuple(entry.sha256 for entry in many[11:3:-1])
