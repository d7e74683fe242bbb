"""Who may have a file because its bytes are here; and what finding out costs."""

from collections import Counter
from pathlib import Path

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedRecordError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.fetch.file_filter import Selection
from outlast.fetch.revision import start_draft
from outlast.ops.pulling.plan import make_plan
from outlast.sources.base import Listing, RepoClaims
from outlast.store.archive import Archive
from outlast.store.records.drafts import Drafts
from outlast.store.records.facts import About
from tests.store.build import COMMIT, OTHER, REPO, entry_of, put, revision_of

SECRET, THIRD = RepoId.parse("org/secret"), RepoId.parse("org/third")
FILES = 2000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[RepoId]:
    """How often the draft of each model is read."""
    found: Counter[RepoId] = Counter()
    load = Drafts.load

    def counting(drafts: Drafts, repo: RepoId, commit: GitOid) -> Revision | None:
        found[repo] += 1
        return load(drafts, repo, commit)

    monkeypatch.setattr(Drafts, "load", counting)
    return found


def test_a_resumed_pull_reads_each_draft_a_few_times(tmp_path: Path, read: Counter[RepoId]) -> None:
    """Whatever the number of its files. Some are in its own draft, some in those of others."""
    contents = [b"%d" % number for number in range(20)]
    paths = {f"f{number}": contents[number % 20] for number in range(FILES)}
    ours = {path: data for path, data in paths.items() if int(path[1:]) % 20 < 10}
    entries = [entry_of(path, data) for path, data in paths.items()]
    facts = RepoClaims(private=False, gated=False, tags=(), facts={})
    with Archive(tmp_path / "home", create=True) as archive, archive.writer() as writer:
        put(archive, writer, *contents)
        rest = {path: data for path, data in paths.items() if path not in ours}
        archive.drafts.start(writer, revision_of(ours, rest))
        for repo in (SECRET, THIRD):
            archive.drafts.start(writer, revision_of(paths, {"more": b"x"}, repo=repo))
            archive.refs.put_about(writer, repo, About(private=True))
        read.clear()
        listing = Listing(REPO, COMMIT, entries, facts)
        plan = make_plan(archive, listing, "main", "hub", Selection(), free=10**12)
        assert {entry.path for entry in plan.to_fetch} == rest.keys()
        start_draft(archive, writer, REPO, OTHER, entries)
        begun = archive.load(REPO, OTHER)
        assert begun is not None
        assert {entry.path for entry in begun.files} == ours.keys()
    assert read[SECRET] == read[THIRD] == 2
    assert read[REPO] <= 10


def test_drafts_count_as_manifests_do(tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive, archive.writer() as writer:
        (blob,) = put(archive, writer, b"secret")
        assert archive.is_free_for(REPO, blob)  # no model is closed
        archive.drafts.start(writer, revision_of({"a": b"secret"}, {"b": b"b"}, repo=SECRET))
        archive.refs.put_about(writer, SECRET, About(gated="auto"))
        assert archive.is_free_for(SECRET, blob)
        assert not archive.is_free_for(REPO, blob)
        assert not archive.is_free_for(REPO, Digest.of(b"left behind"))
        archive.drafts.start(writer, revision_of({"a": b"secret"}, {"c": b"c"}, repo=THIRD))
        assert archive.is_free_for(REPO, blob)  # an open model has it, too
        archive.refs.put_about(writer, THIRD, About(private=True))
        assert not archive.is_free_for(REPO, blob)


def test_what_an_unreadable_draft_has_is_not_free(tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive, archive.writer() as writer:
        (blob,) = put(archive, writer, b"secret")
        archive.drafts.start(writer, revision_of({"a": b"secret"}, {"b": b"b"}, repo=THIRD))
        path = archive.layout.draft(THIRD, COMMIT)
        path.write_bytes(b"?" + path.read_bytes()[1:])
        with pytest.raises(DamagedRecordError):
            archive.drafts.load(THIRD, COMMIT)
        assert not archive.is_free_for(REPO, blob)
