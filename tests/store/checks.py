"""What the state machine puts in, and whether the store's answers are the model's."""

from typing import Any

from outlast.codec import merkle
from outlast.codec.payload import Form
from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from tests.store import weights
from tests.store.build import entry_of
from tests.store.model import Key, Model, key_of

BIG = bytes(range(256)) * 8192 + b"tail"
MODEL = weights.model(1)
TUNED = weights.tuned(MODEL, 2)
CONTENTS = [b"", b"x", b"config", bytes(range(256)) * 65, b"tensor" * 5000, BIG, MODEL, TUNED]
ENTRIES = [entry_of("-", data) for data in CONTENTS]
DATA_OF = {entry.key: data for entry, data in zip(ENTRIES, CONTENTS, strict=True)}
PATHS = ["config.json", "model.safetensors", "sub/a.txt", "sub/é.txt"]
REPOS = [RepoId.parse(text) for text in ("org/a", "Org2/b.c", "solo", "datasets/org/a")]
COMMITS = [GitOid("1" * 40), GitOid("2" * 40)]
REF_NAMES = ["main", "refs/pr/1", "v1.0", "100%"]


def check_answers(archive: Archive, model: Model) -> None:
    """The store's own answers are the model's."""
    assert {(b.digest.hex, b.size) for b in archive.blobs()} == set(model.blobs.items())
    for entry, data in zip(ENTRIES, CONTENTS, strict=True):
        assert entry.sha256 is not None
        assert archive.has(entry.sha256, entry.size) == (entry.key in model.blobs)
        if entry.key in model.blobs:
            with archive.open(entry.sha256) as file:
                assert file.read() == data
            form = archive.form_of(entry.sha256)
            assert (form.form is Form.PLAIN) == (entry.key in model.plain())
            assert tuple(base.sha256.hex for base in form.bases) == model.bases_of(entry.key)
    summaries = [s for s in archive.summaries() if s.digest is not None]
    drafts = [s for s in archive.summaries() if s.digest is None]
    complete = {d for d, r in model.manifests.items() if key_of(r) not in model.drafts}
    assert {s.digest.hex for s in summaries if s.digest} == complete
    assert {(s.repo, s.revision) for s in drafts} == set(model.drafts)
    for key in model.revisions():
        check_revision(archive, model, key)
    for repo in REPOS:
        of_repo = {name: c for (r, name), c in model.refs.items() if r == repo}
        assert {ref.name: ref.commit for ref in archive.refs.list(repo)} == of_repo
        assert archive.commits(repo) == sorted(c for r, c in model.revisions() if r == repo)
        for name, commit in of_repo.items():
            assert archive.find_commit(repo, name) == commit
    assert set(archive.refs.repos()) >= {repo for repo, _ in model.refs}


def check_revision(archive: Archive, model: Model, key: Key) -> None:
    revision = archive.load(*key)
    assert revision is not None
    files, missing = model.shown(key)
    assert {e.path: e.key for e in revision.files} == files
    assert {e.path: e.key for e in revision.missing} == missing
    assert all(archive.holds(e) for e in revision.files)
    if key not in model.drafts:
        assert revision == model.manifests_of(key)[0]


def check_pieces(model: Model, entry: FileEntry, have: bytearray) -> None:
    pieces = model.partials.get(entry.key, frozenset())
    assert [bool(byte) for byte in have] == [index in pieces for index in range(len(have))]


def piece_of(entry: FileEntry, index: int) -> bytes:
    return DATA_OF[entry.key][index * merkle.PIECE : (index + 1) * merkle.PIECE]


def entries_of(files: dict[str, int]) -> list[FileEntry]:
    return [entry_of(path, CONTENTS[number]) for path, number in files.items()]


def void(_: Any) -> None:
    """Drops a result."""
