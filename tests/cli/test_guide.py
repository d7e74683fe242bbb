"""`outlast guide`: what an installation explains by itself."""

import re
from pathlib import Path

import pytest

from outlast.cli.guide import documents, plain
from outlast.core.errors import all_errors
from tests.cli.call import inside

ROOT = Path(__file__).parents[2]


def test_the_topics(tmp_path: Path) -> None:
    listing = inside("guide", home=tmp_path).ok().out
    topics = [line.split()[0] for line in listing.splitlines()[1:]]
    guides = {page.stem for page in (ROOT / "docs" / "guide").glob("*.md")}
    formats = {"capsule", "manifest", "archive", "names", "swarm", "sums", "parity", "bundle"}
    formats |= {"attestation", "screenings", "sealed-runs", "gateway-accounts", "lineage"}
    formats |= {"audit-records"}
    formats |= {"audit-report", "audit-watch"}
    formats |= {"hub-commit", "registry-signatures", "routes"}
    assert guides | {"errors", "cli", "json", "reliability", "security"} | formats == set(topics)
    for topic in topics:
        text = inside("guide", topic, home=tmp_path).ok().out
        assert text.startswith("# ")
        assert "](" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("topic", ["nothing", "../../etc/passwd", "a\nb", "README"])
def test_a_topic_that_is_none(tmp_path: Path, topic: str) -> None:
    message = inside("guide", topic, home=tmp_path).failed("usage")
    assert "no guide about" in message


@pytest.mark.parametrize(
    ("topic", "hint"),
    [("nope", "topics: "), ("serv", "did you mean 'serve'?"), ("sync", "'outlast sync --help'")],
)
def test_a_topic_that_was_meant(topic: str, hint: str, tmp_path: Path) -> None:
    assert f"(hint: {hint}" in inside("guide", topic, home=tmp_path).err


def test_links_say_where_they_lead() -> None:
    text = (
        "<!-- Written by `make docs`. Do not edit. -->\n"
        "# A\n[one](configuration.md#the-swarm), [two](https://a.example/x), [three](gone.py)\n"
        "```\n[four](configuration.md)\n```\n"
    )
    assert plain(text, frozenset({"configuration"})) == (
        "# A\none ('outlast guide configuration'), two (https://a.example/x), three\n"
        "```\n[four](configuration.md)\n```\n"
    )


def test_no_hint_names_a_file_that_an_installation_lacks() -> None:
    texts = [f"{error.code}: {error.default_hint}" for error in all_errors()]
    texts.append((ROOT / "docs" / "cli.md").read_text())
    source = ROOT / "src" / "outlast"
    # What users see of the code: strings behind `hint=` and such, not comments and docstrings.
    quoted = re.compile(r'(?:hint|help)=f?"[^"]*"')
    for path in source.rglob("*.py"):
        texts += quoted.findall(path.read_text())
    assert not [text for text in texts if re.search(r"\bdocs/\w", text)]


def test_hints_name_topics_that_exist() -> None:
    named = re.compile(r"outlast guide ([a-z]+)")
    texts = [error.default_hint for error in all_errors()]
    texts += [path.read_text() for path in (ROOT / "src" / "outlast" / "cli").rglob("*.py")]
    topics = {topic for text in texts for topic in named.findall(text)}
    assert "configuration" in topics
    assert topics <= set(documents())
