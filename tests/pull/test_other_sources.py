"""Pulls from hubs and from sources of other kinds: one manifest, whichever sent the bytes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import (
    EntryNotFoundError,
    IntegrityError,
    NotFoundError,
    RepoNotFoundError,
    UnreachableError,
)
from outlast.core.events import Note
from outlast.core.names import RepoId
from outlast.ops.pull import Pulled
from outlast.sources.base import listing_id
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull.kit import BIG, MIB, Puller, check_archive, check_pulled, contents, has_blob
from tests.sourcesim import FolderSim, Model, ModelScopeSim, Reply, S3Sim, sums
from tests.sourcesim.s3 import BUCKET, KEY, SECRET
from tests.sourcesim.site import cut, failing, wrong

REPO = RepoId.parse("org/name")
NAME = "Other/name"
THERE = "d" * 40
FILES = {
    "config.json": b'{"hidden_size": 64}',
    "README.md": b"# A model\n",
    "small.bin": Random(1).randbytes(70_000),
    BIG: noise(2, 2 * MIB + 12345),
}
MOVED = {f"weights/{path}": data for path, data in FILES.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES)
    return tmp_path / "hub"


@pytest.fixture
def site() -> Iterator[ModelScopeSim]:
    """The same files, under another name and in other folders, as another commit."""
    with ModelScopeSim({NAME: Model({THERE: MOVED}, {"master": THERE})}) as site:
        yield site


def senders(result: Pulled) -> set[str]:
    """The sources that sent anything."""
    return {source for source, count in result.fetched.items() if count}


def at(site: ModelScopeSim, name: str = NAME) -> str:
    return f"modelscope+{site.url}={name}"


def bucket_of(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The objects of a bucket that has `files` as org/name below x."""
    return {
        f"x/org/name/{path}": data for path, data in {**files, "SHA256SUMS": sums(files)}.items()
    }


def commit_of(home: Path) -> GitOid | None:
    with Archive(home) as archive:
        return archive.revision(REPO, None).commit


# One revision, several sources


def test_half_comes_from_a_hub_and_half_from_another_kind(
    hub: HubSim, site: ModelScopeSim, pull: Puller
) -> None:
    large = Random(3).randbytes(20 * MIB + 5)
    made = HubRepo(hub.root, "org/name").commit({"large.bin": large})
    site.models[NAME].states[THERE] = {"large": large}
    hub.set_faults([{"action": "slow", "rate": 8 * MIB, "what": "resolve"}])
    result = pull("org/name", hub.url, at(site))
    check_pulled(pull.home, {**FILES, "large.bin": large})
    assert senders(result) == {hub.url, at(site)}
    assert min(result.fetched.values()) >= MIB
    assert commit_of(pull.home) == GitOid(made.sha)
    assert pull.banned == set()


def test_the_manifest_is_that_of_the_hub_alone(
    hub: HubSim, site: ModelScopeSim, pull: Puller, tmp_path: Path
) -> None:
    both = pull("org/name", hub.url, at(site))
    alone = replace(pull, home=tmp_path / "alone", events=[])
    assert alone("org/name", hub.url).manifest == both.manifest


def test_the_hub_ends_and_the_other_goes_on(hub: HubSim, site: ModelScopeSim, pull: Puller) -> None:
    """All that it has by a sha256 comes from there; small git files the hub had sent before."""
    pull("org/name", hub.url, exclude=[BIG, "small.bin"])
    hub.set_faults([{"action": "status", "status": 503, "what": "resolve"}])
    result = pull("org/name", hub.url, at(site))
    check_pulled(pull.home, FILES)
    assert result.fetched[at(site)] >= len(FILES[BIG])
    assert result.fetched.get(hub.url, 0) == 0


def test_wrong_bytes_ban_who_sent_them(hub: HubSim, site: ModelScopeSim, pull: Puller) -> None:
    large = Random(3).randbytes(12 * MIB + 5)  # more than the hub is asked for at once
    HubRepo(hub.root, "org/name").commit({"large.bin": large})
    site.models[NAME].states[THERE] = {"large": large}

    def wrong_once_for_all(reply: Reply) -> Reply:
        hub.set_faults([])
        return wrong(reply)

    site.fault("^/[0-9a-f]{64}$", wrong_once_for_all)
    # Until the other has sent something, so that it is asked, however busy the machine is.
    hub.set_faults([{"action": "slow", "rate": MIB, "what": "resolve"}])
    pull("org/name", hub.url, at(site))
    check_pulled(pull.home, {**FILES, "large.bin": large})
    assert pull.banned == {at(site)}


def test_cut_bodies_cost_nothing_but_time(hub: HubSim, site: ModelScopeSim, pull: Puller) -> None:
    site.fault("^/[0-9a-f]{64}$", cut, times=2)
    pull("org/name", hub.url, at(site))
    check_pulled(pull.home, FILES)
    assert pull.banned == set()


def test_equal_names_prove_nothing(hub: HubSim, pull: Puller) -> None:
    """The model there has the same name and paths, and other bytes: none of them is asked for."""
    other = {path: Random(9).randbytes(len(data)) for path, data in FILES.items()}
    with ModelScopeSim({"org/name": Model({THERE: other}, {"master": THERE})}) as site:
        result = pull("org/name", hub.url, f"modelscope+{site.url}")
        check_pulled(pull.home, FILES)
        assert senders(result) == {hub.url}
        assert site.count("/repo$") == 0
    assert pull.banned == set()


@pytest.mark.parametrize("status", [503, 404, 451])
def test_a_namesake_elsewhere_does_not_take_the_place_of_a_hub(
    hub: HubSim, pull: Puller, status: int
) -> None:
    """Not while the hub is down, nor when it has withdrawn the model: names prove nothing."""
    hub.set_faults([{"action": "status", "status": status}])
    with ModelScopeSim({"org/name": Model({THERE: FILES}, {"master": THERE})}) as site:
        source = f"modelscope+{site.url}"
        with pytest.raises((UnreachableError, NotFoundError)) as caught:
            pull("org/name", hub.url, source)
        assert source not in str(caught.value)
        assert site.asked == []
        said = [str(event) for event in pull.events if isinstance(event, Note)]
        assert any("asked for bytes, and not what org/name is" in text for text in said)
        pull("org/name", source, hub.url)
        check_pulled(pull.home, FILES)


def test_a_source_that_does_not_know_the_model_is_no_harm(hub: HubSim, pull: Puller) -> None:
    with ModelScopeSim({}) as site, FolderSim({}) as folder:
        result = pull("org/name", hub.url, f"modelscope+{site.url}", f"folder+{folder.url}")
    check_pulled(pull.home, FILES)
    assert senders(result) == {hub.url}


# Other kinds alone


def test_a_model_of_modelscope(site: ModelScopeSim, pull: Puller) -> None:
    result = pull("Other/name", f"modelscope+{site.url}")
    check_pulled(pull.home, MOVED, "Other/name")
    assert (result.plan.commit.hex, result.partial) == (THERE, False)
    with Archive(pull.home) as archive:
        ref = archive.refs.get(RepoId.parse("Other/name"), "main")
        assert ref is not None
        assert (ref.commit.hex, ref.source, ref.kind) == (THERE, f"modelscope+{site.url}", "branch")
    before = site.count("/repo$")
    assert pull("Other/name", f"modelscope+{site.url}").fetched == {}
    assert site.count("/repo$") == before


def test_what_stops_is_resumed(site: ModelScopeSim, pull: Puller) -> None:
    source = f"modelscope+{site.url}"
    site.fault("^/[0-9a-f]{64}$", failing(503))
    with pytest.raises(UnreachableError):
        pull("Other/name", source)
    site._faults.clear()
    pull("Other/name@" + THERE, source)
    check_pulled(pull.home, MOVED, "Other/name@" + THERE)


def test_a_folder(pull: Puller) -> None:
    held = {**FILES, "SHA256SUMS": sums(FILES)}
    with FolderSim(held) as site:
        result = pull("org/name", f"folder+{site.url}=.")
        check_pulled(pull.home, FILES)
        assert result.plan.commit == listing_id(result.plan.wanted)
        again = pull("org/name@" + result.plan.commit.hex, f"folder+{site.url}=.")
        assert (again.fetched, again.manifest) == ({}, result.manifest)
        site.files["config.json"] = b'{"hidden_size": 65}'
        fresh = replace(pull, home=pull.home.with_name("fresh"))
        with pytest.raises(IntegrityError):
            fresh("org/name", f"folder+{site.url}=.")
        assert not has_blob(fresh.home, site.files["config.json"])
        check_archive(fresh.home)


def test_half_comes_from_a_hub_and_half_from_a_bucket(hub: HubSim, tmp_path: Path) -> None:
    """In the command, with the keys of the environment."""
    large = Random(3).randbytes(20 * MIB + 5)
    HubRepo(hub.root, "org/name").commit({"large.bin": large})
    held = {"large": large, **MOVED}
    hub.set_faults([{"action": "slow", "rate": 8 * MIB, "what": "resolve"}])
    bucket = f"s3://{BUCKET}/x"
    words = ["pull", "org/name", "--from", hub.url, "--from", bucket, "--json", "--debug"]
    with S3Sim(bucket_of(held), private=True) as store:
        env = {"AWS_ENDPOINT_URL": store.url, "AWS_ACCESS_KEY_ID": KEY}
        call = inside(*words, home=tmp_path, env=env)
        assert "one is missing" in call.failed("bad-config")
        env["AWS_SECRET_ACCESS_KEY"] = SECRET
        call = inside(*words, home=tmp_path, env=env).ok()
    assert call.result["fetched"].keys() == {hub.url, bucket}
    assert min(call.result["fetched"].values()) >= MIB
    assert contents(tmp_path / "archive") == {**FILES, "large.bin": large}
    assert SECRET not in call.out + call.err
    assert "X-Amz-" not in call.out + call.err


def test_wrong_bytes_of_a_bucket_are_not_archived(tmp_path: Path) -> None:
    with S3Sim(bucket_of(FILES)) as store:
        store.fault(BIG, wrong)
        words = ["pull", "org/name", "--from", f"s3://{BUCKET}/x"]
        call = inside(*words, home=tmp_path, env={"AWS_ENDPOINT_URL": store.url})
        assert BIG in call.failed("integrity")
        assert not has_blob(tmp_path / "archive", wrong(Reply(body=FILES[BIG])).body)
        store._faults.clear()
        inside(*words, home=tmp_path, env={"AWS_ENDPOINT_URL": store.url}).ok()
    assert contents(tmp_path / "archive") == FILES


def test_a_bucket_that_keys_open_is_archived_as_private(tmp_path: Path) -> None:
    env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with S3Sim(bucket_of(FILES), private=True) as store:
        store.fault(BIG, failing(503), times=1)
        env["AWS_ENDPOINT_URL"] = store.url
        config = tmp_path / "config.toml"
        config.write_text(f'from = "s3://{BUCKET}/x/"')
        inside("pull", "org/name", home=tmp_path, env={**env, "OUTLAST_CONFIG": str(config)}).ok()
        shown = inside("config", "--json", home=tmp_path, env=env).ok()
    assert contents(tmp_path / "archive") == FILES
    with Archive(tmp_path / "archive") as archive:
        assert archive.refs.about(REPO).private is True
    assert SECRET not in shown.out
    assert KEY not in shown.out
    assert "s3.secret-access-key" in shown.out


def test_small_git_files_come_from_hubs_alone(
    hub: HubSim, site: ModelScopeSim, pull: Puller
) -> None:
    hub.set_faults([{"action": "status", "status": 404, "what": "resolve"}])
    with pytest.raises((EntryNotFoundError, NotFoundError)):
        pull("org/name", hub.url, at(site))
    assert has_blob(pull.home, FILES[BIG])
    assert not has_blob(pull.home, FILES["config.json"])


def test_what_needs_a_token_is_archived_as_private(site: ModelScopeSim, pull: Puller) -> None:
    site.models[NAME].token = "ms-right"
    source = f"modelscope+{site.url}"
    with pytest.raises(RepoNotFoundError):
        pull("Other/name", source)
    pull.tokens = {source: "ms-right"}
    pull("Other/name", source)
    with Archive(pull.home) as archive:
        assert archive.refs.about(RepoId.parse("Other/name")).private is True


# The command line


def test_the_command_names_another_source(hub: HubSim, site: ModelScopeSim, tmp_path: Path) -> None:
    inside("pull", "org/name", "--from", hub.url, "--from", at(site), home=tmp_path).ok()
    assert contents(tmp_path / "archive") == FILES
    call = inside("pull", "org/name", "--from", f"moodelscope+{site.url}", home=tmp_path)
    assert "no kind of source: 'moodelscope'" in call.failed("bad-config")
    assert "modelscope+URL" in call.err
    (tmp_path / "list").write_text("org/name\n")
    call = inside("pull", "--file", "list", "--from", at(site), home=tmp_path)
    assert "called there" in call.failed("bad-config")


# Names that were learned


def test_a_name_that_locate_learned_is_asked_for_bytes(
    tmp_path: Path, hub: HubSim, site: ModelScopeSim
) -> None:
    """The user says once what the model is called there; digests say that it is the same."""
    home = tmp_path
    hub.set_faults([{"action": "status", "status": 503, "file": BIG}])
    arguments = ["--from", hub.url, "--from", at(site)]
    inside("pull", "org/name", "--exclude", BIG, "--from", hub.url, home=home).ok()
    found = inside("locate", "org/name", *arguments, "--json", home=home).ok()
    rows = {row["holder"]: row for row in found.of_type("holder")}
    there = rows[at(site)]
    assert (there["kind"], there["state"], there["note"]) == ("source", "complete", f"as {NAME}")
    (one, _) = inside("show", "org/name", "--json", home=home).result["equals"]
    assert (one["name"], one["whole"]) == (NAME, True)
    unnamed = f"modelscope+{site.url}"
    again = inside("locate", "org/name", "--from", hub.url, "--from", unnamed, home=home).ok()
    assert f"as {NAME}" in again.out
    pulled = inside(
        "pull", "org/name", "--from", hub.url, "--from", unnamed, "--json", home=home
    ).ok()
    assert pulled.result["fetched"][f"{unnamed}={NAME}"] == len(FILES[BIG])
