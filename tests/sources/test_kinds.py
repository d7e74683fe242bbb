"""Sources as users write them: a kind, a URL, and the model's name there."""

from typing import Any

import pytest

from outlast.api.settings import Settings
from outlast.cli.config.file import config_of
from outlast.cli.config.sections import read_file
from outlast.cli.config.values import check_source
from outlast.cli.options.target import parse_origins
from outlast.core.errors import BadConfigError, RepoNotFoundError, UsageError
from outlast.core.names import RepoId
from outlast.sources import kinds
from outlast.sources.base import AccessSource
from outlast.sources.hub import HubSource
from outlast.sources.kinds import HUB, KINDS, SourceAddress, in_order, open_source, parse_source
from tests.serve.peers import client


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SourceAddress, str | None]]:
    """One more kind, with a short name, whose sources are noted."""
    seen: list[tuple[SourceAddress, str | None]] = []

    def make(http: Any, at: SourceAddress, token: str | None) -> HubSource:
        seen.append((at, token))
        return HubSource(http, at.url, token)

    monkeypatch.setattr(kinds, "KINDS", {**kinds.KINDS, "odd": make})
    short = SourceAddress("odd", "https://odd.example")
    monkeypatch.setattr(kinds, "SHORT", {**kinds.SHORT, "oddity": short})
    return seen


def test_what_may_be_written() -> None:
    assert check_source("https://hub.example/") == "https://hub.example"
    assert check_source("https://hub.example/a=b") == "https://hub.example/a=b"  # a hub's URL
    assert check_source("odd+https://host/x/") == "odd+https://host/x"
    assert check_source("oddity") == "odd+https://odd.example"
    named = "odd+https://odd.example=Other/name"
    assert check_source("oddity=Other/name", named=True) == named
    assert parse_source(named) == SourceAddress("odd", "https://odd.example", "Other/name")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("none+https://host", "no kind of source: 'none'"),
        ("+https://host", "no kind of source"),
        ("odd+ftp://host", "not an http or https URL"),
        ("odd+https://user:secret@host", "a password in the URL"),
        ("odd+https://host?x=1", "not"),
        ("odd+https://host=../../x", "not the name of a model"),
        ("odd+https://host=", "not the name of a model"),
        ("oddity=a/b/c", "not the name of a model"),
        ("oddit", "no such source"),
        ("http:/host", "no such source"),
    ],
)
def test_what_may_not(text: str, says: str) -> None:
    with pytest.raises(BadConfigError, match=says) as caught:
        check_source(text, named=True)
    assert "secret" not in str(caught.value)


def test_another_name_is_said_where_one_model_is_asked_for() -> None:
    words = ["odd+https://host=Other/name"]
    with pytest.raises(BadConfigError, match="what one model is called there"):
        parse_origins(words, ())
    assert parse_origins(words, (), named=True)[0] == tuple(words)
    with pytest.raises(BadConfigError, match=r"from.*what one model is called there"):
        read_file({"from": words})


def test_the_file_names_any_kind() -> None:
    said = read_file({"from": ["https://hub.example", "oddity"]})
    assert said.sources == ("https://hub.example", "odd+https://odd.example")


def test_a_token_goes_to_its_own_host(made: list[tuple[SourceAddress, str | None]]) -> None:
    found = config_of({"tokens": {"https://odd.example": "for-odd"}}, {"HF_TOKEN": "hub-token"})
    written = ["odd+https://odd.example", "odd+https://elsewhere.example", "https://odd.example"]
    for upstream in found.upstreams(written):
        open_source(client(), upstream.url, upstream.token)
    assert [token for _, token in made] == ["for-odd", None]
    assert found.upstreams(written)[2].token == "for-odd"
    upstreams = Settings(found, followed=False).upstreams(["oddity"], "given")
    assert [(up.url, up.token) for up in upstreams] == [("odd+https://odd.example", "given")]
    both = ["oddity", "https://hub.example"]
    given = {"oddity": "one", "https://hub.example": "other"}
    upstreams = Settings(found, followed=False).upstreams(both, given)
    assert [up.token for up in upstreams] == ["one", "other"]
    with pytest.raises(UsageError, match="several hosts"):
        Settings(found, followed=False).upstreams(both, "one for both")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_name_of_a_source_is_its_address(kind: str) -> None:
    """So that a registry is not taken for a hub, which shares its names with others."""
    written = {HUB: "https://one.example", "s3": "s3://bucket/some/prefix"}
    text = written.get(kind, f"{kind}+https://one.example")
    source = open_source(client(), text, None)
    assert parse_source(source.name) == parse_source(text)
    if kind != HUB:
        other = open_source(client(), f"{text}=Other/name", None)
        assert parse_source(other.name) == parse_source(f"{text}=Other/name")


def test_the_first_says_what_names_stand_for() -> None:
    """Hubs share their names; a site of another kind has its own."""
    written = ["https://hub.example", "odd+https://one.example", "https://mirror.example"]
    opened = [(text, open_source(client(), text, "token")) for text in written]
    same = [source is after for (_, source), after in zip(opened, in_order(opened), strict=True)]
    assert same == [True, False, True]
    assert [
        source is after
        for (_, source), after in zip(opened[1:], in_order(opened[1:]), strict=False)
    ] == [
        True,
        False,
    ]
    other = in_order(opened)[1]
    assert isinstance(other, AccessSource)
    assert (other.has_token, other.with_token(None).has_token) == (True, False)
    assert other.name == "https://one.example"
    repo = RepoId.parse("org/name")
    for ask in (lambda: other.describe(repo, "main"), lambda: other.refs(repo)):
        with pytest.raises(RepoNotFoundError, match="asked for bytes"):
            ask()
    with pytest.raises(RepoNotFoundError, match="asked for bytes"):
        other.check_access(repo)
    assert in_order([]) == []
