"""What the rules refuse, on each way in and out: nothing is changed, and the reason is said."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import outlast
from outlast.core.digest import Digest
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.clients.run import client_env
from tests.features.trust.rules.world import (
    NO_ACME,
    NO_COPYLEFT,
    OPEN_RULES,
    rules_in_archive,
    state_of,
)
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node
from tests.serve.peers import archive_files
from tests.serve.wire import once
from tests.store import weights

RULES = OPEN_RULES + NO_ACME + NO_COPYLEFT
REASON = "not from acme: publisher is acme (rule no-acme)"
CARD = b"---\nlicense: gpl-3.0\n---\n# A model\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    root = tmp_path_factory.mktemp("hub")
    files = {"config.json": b"{}", "model.safetensors": b"weights" * 100}
    for name in ("acme/model", "org/open"):
        HubRepo(root, name).commit(files)
    HubRepo(root, "org/tagged", tags=["license:agpl-3.0"]).commit(files)
    HubRepo(root, "org/carded").commit({**files, "README.md": CARD})
    HubRepo(root, "org/carded").configure(tags=["license:mit"])
    with HubSim(root, mode="thread") as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With an archive that has an open model, and rules."""
    archive = tmp_path / "archive"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    inside("add", "mine", "--as", "org/mine", home=tmp_path).ok()
    rules_in_archive(archive, RULES)
    return tmp_path


def unchanged(home: Path, act: Callable[[], None]) -> None:
    archive = home / "archive"
    before = state_of(archive)
    act()
    assert state_of(archive) == before


# In


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--strict",)])
@pytest.mark.parametrize("name", ["acme/model", "org/tagged"])
def test_a_refused_pull_leaves_nothing(
    home: Path, hub: HubSim, name: str, more: tuple[str, ...]
) -> None:
    hub.clear_log()

    def act() -> None:
        call = inside("pull", name, "--from", hub.url, *more, home=home)
        assert "(rule no-" in call.failed("refused-by-rules")

    unchanged(home, act)
    assert hub.requests()
    assert not hub.requests(what="resolve")


def test_another_model_is_pulled(home: Path, hub: HubSim) -> None:
    inside("pull", "org/open", "--from", hub.url, home=home).ok()


def test_a_card_says_more_than_its_hub(home: Path, hub: HubSim) -> None:
    """The hub calls it MIT. Its bytes are fetched, and wait for gc; no revision is here."""
    call = inside("pull", "org/carded", "--from", hub.url, home=home)
    assert "rule no-copyleft" in call.failed("refused-by-rules")
    with Archive(home / "archive") as archive:
        repo = RepoId.parse("org/carded")
        assert archive.commits(repo) == []
        assert archive.refs.list(repo) == []
    assert "org/carded" not in inside("ls", home=home).ok().out


def test_a_model_that_is_here_stays_when_rules_come(home: Path, hub: HubSim) -> None:
    archive = home / "archive"
    rules_in_archive(archive, OPEN_RULES)
    inside("pull", "org/carded", "--from", hub.url, home=home).ok()
    rules_in_archive(archive, RULES)

    def act() -> None:
        inside("pull", "org/carded", "--from", hub.url, home=home).failed("refused-by-rules")

    unchanged(home, act)
    assert "org/carded" in inside("ls", home=home).ok().out


@pytest.mark.parametrize("name", ["acme/mine", "org/carded"])
def test_add_is_asked_too(home: Path, name: str) -> None:
    if name == "org/carded":
        (home / "mine" / "README.md").write_bytes(CARD)
    call = inside("add", "mine", "--as", name, home=home)
    assert f"pull of {name}" in call.failed("refused-by-rules")
    assert name not in inside("ls", home=home).ok().out


def test_adopt_leaves_out_what_is_refused(home: Path, hub: HubSim) -> None:
    other = home / "other"
    other.mkdir()
    for name in ("acme/model", "org/open"):
        inside("pull", name, "--from", hub.url, home=other).ok()
        inside("link", name, "--cache", "cache", home=other).ok()
    call = inside("adopt", other / "cache", "--json", home=home)
    assert [problem["code"] for problem in call.result["problems"]] == ["refused-by-rules"]
    listed = inside("ls", home=home).ok().out
    assert "org/open" in listed
    assert "acme/model" not in listed


def test_import_leaves_out_what_is_refused(home: Path, hub: HubSim) -> None:
    other = home / "other"
    other.mkdir()
    names = ("acme/model", "org/carded", "org/open")
    for name in names:
        inside("pull", name, "--from", hub.url, home=other).ok()
    inside("export", *names, "--to", "media", home=other).ok()
    call = inside("import", other / "media", home=home)
    assert call.code == 4
    listed = inside("ls", home=home).ok().out
    assert "org/open" in listed
    assert "acme/model" not in listed
    assert "org/carded" not in listed
    assert "not from acme" in call.out + call.err


# Out


@pytest.fixture
def holding(home: Path, hub: HubSim) -> Path:
    """An archive that has a model which the rules have come to refuse."""
    archive = home / "archive"
    (archive / "trust" / "rules.cedar").unlink()
    inside("pull", "acme/model", "--from", hub.url, home=home).ok()
    rules_in_archive(archive, RULES)
    return home


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("export", ("link", "acme/model", "--folder", "out")),
        ("export", ("link", "acme/model", "--cache", "out")),
        ("export", ("export", "acme/model", "--to", "out")),
        ("export", ("export", "org/mine", "acme/model", "--to", "out")),
        ("share", ("share", "acme/model", "--out", "out")),
        ("share", ("share", "acme/model", "--out", "out", "--restricted")),
        ("run", ("run", "acme/model", "hello")),
    ],
)
def test_nothing_leaves(holding: Path, action: str, command: tuple[str, ...]) -> None:
    def act() -> None:
        said = inside(*command, home=holding).failed("refused-by-rules")
        assert said == f"{action} of acme/model: {REASON}"

    unchanged(holding, act)
    assert not (holding / "out").exists()


def test_a_copy_sends_nothing(holding: Path) -> None:
    there = holding / "there"
    there.mkdir()
    for named in ((), ("acme/model", "org/mine")):
        command = ("copy", *named, "--store", there.as_uri())
        call = inside(*command, home=holding)
        assert f"export of acme/model: {REASON}" == call.failed("refused-by-rules")
    assert not list(there.rglob("*"))


def test_where_it_reports_people_are_told(holding: Path) -> None:
    config = holding / "config.toml"
    config.write_text('[trust]\nmode = "report"\n')
    env = {"OUTLAST_CONFIG": str(config)}
    call = inside("link", "acme/model", "--folder", "out", home=holding, env=env).ok()
    assert call.err.count(f"would be refused: export of acme/model: {REASON}") == 1
    assert (holding / "out" / "config.json").exists()


def test_a_copy_takes_no_base_along_that_may_not_leave(tmp_path: Path) -> None:
    """A fine-tune is here as its difference from a model of acme's."""
    base = weights.model(1, 20_000)
    tuned = weights.tuned(base, 2)
    with Archive(tmp_path / "archive", create=True) as archive:
        archive_files(archive, RepoId.parse("acme/base"), {"model.safetensors": base})
        archive_files(archive, RepoId.parse("org/tuned"), {"model.safetensors": tuned})
        with archive.writer() as writer:
            weights.pack(archive, writer, Digest.of(tuned), Digest.of(base))
        assert archive.form_of(Digest.of(tuned)).bases
    there = tmp_path / "there"
    rules_in_archive(tmp_path / "archive", RULES)
    inside("copy", f"org/tuned@{'c' * 40}", "--store", there.as_uri(), home=tmp_path).ok()
    names = {path.name.partition(".")[0] for path in there.rglob("*")}
    assert Digest.of(tuned).hex in names
    assert Digest.of(base).hex not in names
    (copied,) = (there / "blobs").rglob(Digest.of(tuned).hex)
    assert copied.read_bytes() == tuned
    rules_in_archive(tmp_path / "archive", OPEN_RULES)
    other = tmp_path / "other"
    inside("copy", f"org/tuned@{'c' * 40}", "--store", other.as_uri(), home=tmp_path).ok()
    assert Digest.of(base).hex in {path.name.partition(".")[0] for path in other.rglob("*")}


def test_verify_and_rm_are_not_asked(holding: Path) -> None:
    """What the operator does with the own archive, apart from its bytes going anywhere."""
    for command in (("ls",), ("show", "acme/model"), ("verify",), ("rm", "acme/model")):
        inside(*command, home=holding).ok()


def test_python_is_asked_too(holding: Path) -> None:
    """Also where the configuration does not count: the rules lie in the archive."""
    with outlast.open(holding / "archive", configured=False) as archive:
        with pytest.raises(outlast.PolicyError, match="no-acme"):
            archive.open_file("acme/model", "config.json")
        with pytest.raises(outlast.PolicyError, match="no-acme"):
            archive.link("acme/model", folder=holding / "out")
        archive.open_file("org/mine", "config.json").close()


def test_the_configuration_names_rules(home: Path, hub: HubSim) -> None:
    rules, config = home / "more.cedar", home / "config.toml"
    (home / "archive" / "trust" / "rules.cedar").unlink()
    rules.write_text(RULES)
    config.write_text(f'[trust]\nrules = "{rules}"\n')
    env = {"OUTLAST_CONFIG": str(config)}
    pull = ("pull", "acme/model", "--from", hub.url)
    inside(*pull, home=home, env=env).failed("refused-by-rules")
    rules.write_text("permit (")
    assert "not Cedar" in inside(*pull, home=home, env=env).failed("refused-by-rules")
    rules.unlink()
    inside(*pull, home=home, env=env).failed("refused-by-rules")
    rules.write_text(RULES)
    config.write_text(f'[trust]\nrules = "{rules}"\nmode = "report"\n')
    inside(*pull, home=home, env=env).ok()


# Clients of a server


def test_clients_are_told_why(holding: Path) -> None:
    with Node(holding / "archive") as node:
        for path in (
            "/acme/model/resolve/main/config.json",
            "/api/models/acme/model",
            "/api/models/acme/model/tree/main",
        ):
            reply = once(node.url, path)
            assert reply.status == 403
            assert reply.headers["x-error-message"] == f"serve of acme/model: {REASON}"
            assert json.loads(reply.body)["error"] == f"serve of acme/model: {REASON}"
        assert once(node.url, "/org/mine/resolve/main/config.json").status == 200
        figures = once(node.url, "/metrics").body.decode()
        assert 'outlast_rules_judged{verdict="refused"} 3.0' in figures
        assert 'outlast_rules_judged{verdict="allowed"} 1.0' in figures


@pytest.mark.parametrize("upstream", [False, True])
def test_another_spelling_is_refused_too(home: Path, hub: HubSim, upstream: bool) -> None:
    """It is led to the own spelling, where the reason is told."""
    add_files(home, "Acme/Model")
    with Node(home / "archive", *(("--upstream", hub.url) if upstream else ())) as node:
        for name in ("acme/model", "ACME/Model"):
            reply = once(node.url, f"/{name}/resolve/main/config.json")
            assert reply.status == 307
            assert reply.headers["location"] == "/Acme/Model/resolve/main/config.json"
        reply = once(node.url, reply.headers["location"])
        assert reply.status == 403
        assert "serve of Acme/Model: not from acme" in reply.headers["x-error-message"]


def add_files(home: Path, name: str) -> None:
    """Archives a model that the rules refuse."""
    rules_in_archive(home / "archive", OPEN_RULES)
    inside("add", "mine", "--as", name, home=home).ok()
    rules_in_archive(home / "archive", RULES)


def test_a_mirror_fetches_nothing_for_them(home: Path, hub: HubSim) -> None:
    archive = home / "archive"
    with Node(archive, "--upstream", hub.url) as node:
        for name, rule in (("acme/model", "no-acme"), ("org/tagged", "no-copyleft")):
            reply = once(node.url, f"/{name}/resolve/main/config.json")
            assert reply.status == 403
            assert f"(rule {rule})" in reply.headers["x-error-message"]
            with Archive(archive) as opened:
                assert opened.commits(RepoId.parse(name)) == []
        assert once(node.url, "/org/open/resolve/main/config.json").status == 200


def test_where_it_reports_clients_are_served(holding: Path) -> None:
    config = holding / "config.toml"
    config.write_text('[trust]\nmode = "report"\n')
    with Node(holding / "archive", env={"OUTLAST_CONFIG": str(config)}) as node:
        assert once(node.url, "/acme/model/resolve/main/config.json").status == 200
        figures = once(node.url, "/metrics").body.decode()
        assert 'outlast_rules_judged{verdict="reported"} 1.0' in figures


def test_huggingface_hub_shows_the_reason(holding: Path) -> None:
    import subprocess  # noqa: PLC0415 - for this test alone
    import sys  # noqa: PLC0415

    program = (
        "from huggingface_hub import hf_hub_download\n"
        "hf_hub_download('acme/model', 'config.json')\n"
    )
    with Node(holding / "archive") as node:
        env = client_env(node.url, holding)
        found = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
        )
    assert found.returncode
    assert REASON in found.stderr


def test_a_mirror_makes_no_revision_of_what_its_card_forbids(home: Path, hub: HubSim) -> None:
    """The hub calls it MIT. Once the card is here, nothing of it is served."""
    archive = home / "archive"
    with Node(archive, "--upstream", hub.url) as node:
        once(node.url, "/org/carded/resolve/main/README.md")
        for path in ("config.json", "model.safetensors"):
            reply = once(node.url, f"/org/carded/resolve/main/{path}")
            assert reply.status == 403
            assert "(rule no-copyleft)" in reply.headers["x-error-message"]
    with Archive(archive) as opened:
        assert not opened.index.summaries() or all(
            str(summary.repo) != "org/carded" for summary in opened.index.summaries()
        )


def test_a_mirror_judges_the_card_before_any_byte_of_weights(home: Path, hub: HubSim) -> None:
    """The hub calls it MIT, and its card GPL."""
    with Node(home / "archive", "--upstream", hub.url) as node:
        hub.clear_log()
        reply = once(node.url, "/org/carded/resolve/main/model.safetensors")
        assert (reply.status, "rule no-copyleft" in reply.headers["x-error-message"]) == (403, True)
        asked = {one.file for one in hub.requests()}
        assert "README.md" in asked
        assert "model.safetensors" not in asked
        assert once(node.url, "/org/open/resolve/main/model.safetensors").status == 200
