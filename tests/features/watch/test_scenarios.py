"""What hubs do to models: noticed within one poll, by its right name, and told once."""

import pytest

from outlast.features.watch.changes import ChangeKind
from outlast.features.watch.polls.hub_pass import Rules
from tests.features.watch.archived import pull_all
from tests.features.watch.world import CARD, DAY, World
from tests.hubsim import put_collection


def only(world: World, kind: str, *, again: int = 2) -> None:
    """The next poll tells `kind` and nothing else, and those after it nothing at all."""
    before = len(world.heard.told)
    assert world.kinds() == [kind]
    for _ in range(again):
        assert world.kinds() == []
    assert [str(change.kind) for change in world.heard.told[before:]] == [kind]


@pytest.fixture(autouse=True)
def _nothing_yet(request: pytest.FixtureRequest) -> None:
    """The first polls tell nothing."""
    for name in ("world", "anonymous"):
        if name in request.fixturenames:
            world: World = request.getfixturevalue(name)
            assert world.kinds(0) == []
            assert world.kinds() == []


def test_deleted(world: World) -> None:
    world.repo().delete()
    only(world, "deleted")
    (told,) = world.memory.history(world.model(), None)
    assert (told.before, told.after, told.reason) == ("open", "missing", "Repository not found")


def test_deleted_as_everybody_sees_it(anonymous: World) -> None:
    anonymous.repo().delete()
    only(anonymous, "refused")
    (told,) = anonymous.memory.history(anonymous.model(), None)
    assert "deleted or made private" in told.reason


def test_gated_and_open_again(world: World) -> None:
    world.repo().configure(gated="manual")
    only(world, "gated")
    world.repo().configure(gated=False)
    only(world, "ungated")


def test_made_private(world: World) -> None:
    world.repo().configure(private=True)
    only(world, "made-private")
    world.repo().configure(private=False)
    only(world, "returned")


def test_renamed(world: World) -> None:
    repo = world.repo().move("org/other")
    only(world, "renamed")
    repo.commit({"more.txt": b"1"})
    only(world, "moved")
    repo.delete()
    only(world, "deleted")


def test_transferred(world: World) -> None:
    world.repo().move("else/name")
    only(world, "transferred")


def test_relicensed(world: World) -> None:
    repo = world.repo()
    repo.configure(card={"license": "other", "license_name": "strict"})
    repo.commit({"README.md": CARD.replace(b"mit", b"other"), "LICENSE": b"You may not.\n"})
    told = world.poll()
    assert [one.kind for one in told] == ["moved", "relicensed", "card-changed"]
    assert (told[1].before, told[1].after) == ("mit", "other (strict)")
    assert "-You may.\n+You may not." in told[1].diff
    assert "-license: mit\n+license: other" in told[2].diff
    assert world.kinds() == []


def test_force_pushed(world: World) -> None:
    repo = world.repo()
    first = repo.read(repo.head.parent or "")
    repo.set_ref("side", first.sha)
    side = repo.commit({"README.md": CARD + b"2"}, refs=["side"])
    repo.set_ref("main", side.sha)
    repo.set_ref("side", None)
    told = world.poll()
    kinds = ["force-pushed", "files-dropped", "relicensed", "card-changed"]
    assert [one.kind for one in told] == kinds
    assert told[0].after == side.sha
    assert told[1].files == ("LICENSE", "model.safetensors")
    assert world.kinds() == []


def test_a_file_dropped(world: World) -> None:
    world.repo().commit({}, delete=["model.safetensors"])
    told = world.poll()
    assert [one.kind for one in told] == ["moved", "files-dropped"]
    assert told[1].files == ("model.safetensors",)
    assert world.kinds() == []


def test_blocked_where_we_are(anonymous: World) -> None:
    anonymous.repo().refuse(451, "by order of a court", to="anonymous")
    only(anonymous, "blocked")
    (told,) = anonymous.memory.history(anonymous.model(), None)
    assert told.reason == "by order of a court"


def test_blocked_elsewhere(world: World) -> None:
    world.repo().refuse(451, "by order of a court", to="anonymous")
    assert world.kinds() == []


def test_gone(world: World) -> None:
    world.repo().refuse(410, "it was withdrawn")
    only(world, "deleted")
    world.repo().refuse(None)
    only(world, "returned")


def test_refs_come_and_go(world: World) -> None:
    repo = world.repo()
    repo.set_ref("dev", repo.head.sha)
    only(world, "new-ref")
    repo.commit({"a.txt": b"1"}, refs=["dev"])
    only(world, "moved")
    repo.set_ref("v1", None, tag=True)
    only(world, "ref-deleted")


def test_returned_with_another_history(world: World) -> None:
    world.repo().delete()
    only(world, "deleted")
    world.make("org/name")
    world.repo().commit({"b.txt": b"2"})
    kinds = world.kinds()
    assert kinds[-1] == "returned"
    assert world.kinds() == []


def test_the_account_is_gone(world: World) -> None:
    world.follows = "acme/*\n"
    world.make("acme/one", "acme/two", "acme/three")
    assert world.kinds() == ["returned"] * 0
    assert world.kinds() == []
    for name in ("one", "two", "three"):
        world.repo(f"acme/{name}").delete()
    (told,) = world.poll()
    assert told.kind is ChangeKind.ACCOUNT_GONE
    assert told.repo is None
    assert told.before == "acme"
    assert set(told.files) == {"acme/one", "acme/two", "acme/three"}
    assert world.kinds() == []
    history = [*world.memory.history(world.model("acme/two"), None)]
    assert [str(one.kind) for one in history] == ["account-gone"]
    assert [one.kind for one in world.heard.told] == ["account-gone"]


def test_one_of_an_account(world: World) -> None:
    world.follows = "acme/*\n"
    world.make("acme/one", "acme/two")
    assert world.kinds() == []
    world.repo("acme/one").delete()
    only(world, "deleted")
    world.make("acme/three")
    only(world, "appeared")
    world.repo("acme/two").move("acme/four")
    only(world, "renamed")


def test_a_model_that_was_not_there(world: World) -> None:
    world.follows = "org/later\n"
    assert world.kinds() == []
    assert world.kinds() == []
    world.make("org/later")
    only(world, "appeared")


def test_the_hub_is_dark(world: World) -> None:
    world.hub.set_faults([{"action": "status", "status": 503}])
    assert world.kinds() == ["hub-dark"]
    for _ in range(3):
        assert world.kinds() == []
    world.repo().delete()
    assert world.kinds() == []
    world.hub.set_faults([])
    assert world.kinds() == ["deleted", "hub-back"]
    assert world.kinds() == []


def test_a_hub_behind_a_login_page_judges_nothing(world: World) -> None:
    world.hub.set_faults([{"action": "page"}])
    only(world, "hub-dark")
    world.hub.set_faults([{"action": "status", "status": 404, "message": ""}])
    only_dark = world.kinds()
    assert only_dark == []
    world.hub.set_faults([])
    assert world.kinds() == ["hub-back"]


def test_a_hub_that_is_not_there(world: World) -> None:
    world.hub.stop()
    only(world, "hub-dark")
    world.hub.start()
    assert world.kinds() == ["hub-back"]


def test_a_hub_that_flaps(world: World) -> None:
    world.rules = Rules(every=300.0, requests=1_000_000)
    assert world.kinds() == []
    told: list[str] = []
    for number in range(20):
        world.hub.set_faults([{"action": "status", "status": 502}] if number % 2 else [])
        told += world.kinds(700)
    assert told == ["hub-dark"]
    world.hub.set_faults([])
    assert [kind for _ in range(8) for kind in world.kinds(700)] == ["hub-back"]


def test_a_token_that_expired_is_no_withdrawal(world: World) -> None:
    watch = world.watch.with_token("hf_expired")
    world.watch = watch
    assert world.kinds() == []
    world.repo().configure(private=True)
    only(world, "refused")


def test_a_moment_of_404_is_no_deletion(world: World) -> None:
    world.repo().configure(tags=["new"])  # so that the hub has something else to say
    missing = {"action": "status", "status": 404, "code": "RepoNotFound", "what": "info"}
    world.hub.set_faults([missing | {"count": 1}])
    assert world.kinds() == []
    world.hub.set_faults([])
    assert world.kinds() == []


def test_the_archive_is_told(world: World) -> None:
    pull_all(world)
    world.repo().delete()
    assert world.kinds() == ["deleted"]
    about = world.archive.refs.about(world.model())
    assert about.withdrawn_since(world.watch.name, "")
    world.make("org/name")
    assert "returned" in world.kinds()
    assert not world.archive.refs.about(world.model()).withdrawn


def test_a_collection_and_a_search(world: World) -> None:
    put_collection(world.root, "acme/best-1", ["org/name", "acme/one"])
    world.make("acme/one", "acme/two")
    world.repo("acme/two").configure(tags=["gguf", "license:mit"])
    world.follows = "collections/acme/best-1\nsearch:tag=gguf,license=mit\n"
    assert world.kinds() == []
    assert world.kinds() == []
    put_collection(world.root, "acme/best-1", ["acme/one", "acme/new"])
    world.make("acme/new")
    only(world, "appeared")
    world.repo("acme/two").delete()
    only(world, "deleted")
    world.repo("org/name").delete()  # it was in the collection once
    only(world, "deleted")


def test_what_the_archive_saw_is_the_beginning(world: World) -> None:
    """A follow of a model that is archived already: what happened since is told at once."""
    pull_all(world)
    world.follows = "other/name\n"
    assert world.kinds() == []
    world.repo().commit({"new.txt": b"n"})
    world.follows = "org/name\n"
    only(world, "moved")


def test_nothing_is_asked_that_is_not_due(world: World) -> None:
    world.hub.clear_log()
    assert world.kinds(1) == []
    assert world.requests() == 0
    assert world.kinds(DAY) == []
    assert world.requests() == 2
    statuses = {entry.status for entry in world.hub.requests()}
    assert statuses == {304}


def test_contents_are_fetched_only_where_they_differ(world: World) -> None:
    world.hub.clear_log()
    world.repo().commit({"config.json": b'{"a": 1}'})
    assert world.kinds() == ["moved"]
    assert world.requests("resolve") == 0
