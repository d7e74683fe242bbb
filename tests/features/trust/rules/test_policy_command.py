"""outlast policy: check, explain, test, what-if."""

from pathlib import Path

import pytest

from outlast.features.trust.rules.data_files import packaged
from tests.cli.call import inside
from tests.features.trust.rules.world import NO_ACME, NO_COPYLEFT, OPEN_RULES, rules_in_archive
from tests.serve.forms import floats
from tests.store.weights import model, tuned

CARD = b"---\nlicense: gpl-3.0\n---\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An archive with a model under a copyleft licence, and new rules beside it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_bytes(CARD)
    inside("add", "mine", "--as", "org/mine", home=tmp_path).ok()
    (tmp_path / "new.cedar").write_text(OPEN_RULES + NO_COPYLEFT)
    return tmp_path


# check


def test_check_prints_the_rules(home: Path) -> None:
    out = inside("policy", "check", "new.cedar", home=home).ok().out
    assert out.startswith("new.cedar: 2 rules, sha256 ")
    assert "no-copyleft  forbids  licence.copyleft" in out


def test_check_takes_those_in_force(home: Path) -> None:
    said = inside("policy", "check", home=home).failed("usage")
    assert said == "there are no rules: everything is allowed"
    rules_in_archive(home / "archive", OPEN_RULES)
    assert "trust/rules.cedar: 1 rule" in inside("policy", "check", home=home).ok().out


def test_check_says_what_is_wrong(home: Path) -> None:
    (home / "new.cedar").write_text(OPEN_RULES + NO_ACME.replace("publisher", "publishr"))
    said = inside("policy", "check", "new.cedar", home=home).failed("bad-rules")
    assert said.startswith("new.cedar: rule 'no-acme'")
    assert "publishr" in said
    (home / "archive" / "trust").mkdir(exist_ok=True)
    (home / "archive" / "trust" / "labels.toml").write_text("x")
    (home / "new.cedar").write_text(OPEN_RULES)
    assert "labels.toml" in inside("policy", "check", "new.cedar", home=home).failed("bad-config")
    inside("policy", "check", "none.cedar", home=home).failed("bad-config")


def test_doctor_finds_rules_that_do_not_load(home: Path) -> None:
    rules_in_archive(home / "archive", "permit (")
    call = inside("doctor", home=home)
    assert call.code
    assert "rules.cedar: it is not Cedar" in call.out


# explain


def test_explain_says_which_rule_decides_and_by_what(home: Path) -> None:
    call = inside("policy", "explain", "run", "org/mine", "--rules", "new.cedar", home=home)
    assert call.code == 7
    lines = call.out.splitlines()
    assert lines[0] == "run of org/mine: not allowed: copyleft: licence.copyleft is strong"
    assert lines[1] == "by new.cedar"
    assert lines[-1].split() == ["licence.copyleft", "strong"]


def test_explain_what_is_allowed_or_not_here(home: Path) -> None:
    (home / "new.cedar").write_text(OPEN_RULES + NO_ACME)
    call = inside("policy", "explain", "pull", "org/mine", "--rules", "new.cedar", home=home).ok()
    assert call.out.startswith("pull of org/mine: allowed")
    explain = ("policy", "explain", "pull", "acme/other", "--rules", "new.cedar")
    call = inside(*explain, home=home)
    assert call.code == 7
    assert "by its name alone" in call.err
    call = inside(*explain, "--json", "--all", home=home)
    assert call.code == 7
    found = {one["name"]: one["value"] for one in call.result["attributes"]}
    assert found["publisher"] == "acme"
    assert found["licence.spdx"] == "unknown"
    assert [rule["name"] for rule in call.result["rules"]] == ["no-acme"]
    explain = ("policy", "explain", "pull", "org/mine@v9", "--rules", "new.cedar")
    inside(*explain, home=home).failed("revision-not-found")


# test

CASES = """
[[case]]
action = "pull"
model = "org/a"
expect = "allow"
licence = "mit"

[[case]]
action = "run"
model = "org/a"
licence = "gpl-3.0"
files = ["a.gguf"]
size = 5
expect = "deny"
rule = "no-copyleft"

[[case]]
action = "run"
model = "org/a"
expect = "deny"
set = { "licence.copyleft" = "strong", "claims.intact" = true }
"""


def test_cases_that_are_as_expected(home: Path) -> None:
    (home / "cases.toml").write_text(CASES)
    call = inside("policy", "test", "cases.toml", "--rules", "new.cedar", home=home).ok()
    assert call.out == "3 cases: all as expected\n"


def test_cases_that_differ(home: Path) -> None:
    wrong = CASES.replace('"mit"', '"gpl-3.0"').replace('"no-copyleft"', '"all"')
    (home / "cases.toml").write_text(wrong)
    call = inside("policy", "test", "cases.toml", "--rules", "new.cedar", home=home)
    assert call.code == 1
    assert call.out == (
        "pull of org/a: expected allow, and it is deny, by no-copyleft\n"
        "run of org/a: expected deny by all, and it is by no-copyleft\n"
        "3 cases: 2 cases differ\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "case"),
        ("case = []\n", "no case"),
        ('[[case]]\naction = "fly"\nmodel = "a/b"\nexpect = "deny"\n', "fly"),
        ('[[case]]\naction = "run"\nmodel = "a/b"\nexpect = "maybe"\n', "maybe"),
        ('[[case]]\naction = "run"\nmodel = "a/b/c"\nexpect = "deny"\n', "case 1"),
        ('[[case]]\naction = "run"\nmodel = "a/b"\nexpct = "deny"\n', "expct"),
        *(
            (
                f'[[case]]\naction = "run"\nmodel = "a/b"\nexpect = "deny"\nset = {{ {given} }}\n',
                said,
            )
            for given, said in (
                ("colour = 1", "colour"),
                ('"licence.colour" = 1', "licence.colour"),
                ("licence = 1", "licence"),
                ('size = "5"', "case 1"),
                ('"size.x" = 5', "size.x"),
            )
        ),
    ],
)
def test_a_wrong_case_is_an_error(home: Path, text: str, said: str) -> None:
    (home / "cases.toml").write_text(text)
    call = inside("policy", "test", "cases.toml", "--rules", "new.cedar", home=home)
    assert said in call.failed("bad-config", "bad-rules")


# what-if


def test_what_if_shows_what_depends_on_it(home: Path) -> None:
    base = model(1, 100_000)
    for name, data, card in (
        ("base", base, CARD),
        ("fine", tuned(base, 2), b"---\nlicense: mit\nbase_model: org/base\n---\n"),
        ("apart", floats(7), b"---\nlicense: mit\n---\n"),
    ):
        folder = home / name
        folder.mkdir()
        (folder / "README.md").write_bytes(card)
        (folder / "model.safetensors").write_bytes(data)
        inside("add", name, "--as", f"org/{name}", home=home).ok()
    call = inside(
        "policy", "what-if", "--rules", "new.cedar", "--action", "serve", "--json", home=home
    )
    *rows, result = call.ok().documents
    assert [row["repo"] for row in rows] == ["org/base", "org/mine"]
    assert rows[0]["rule"] == "no-copyleft"
    assert not rows[0]["already"]
    (needing,) = rows[0]["dependents"]
    assert (needing["repo"], needing["names_it"], needing["deltas"]) == ("org/fine", True, 1)
    assert 0 < needing["bytes"] < len(base)
    assert rows[1]["dependents"] == []
    assert (result["revisions"], result["forbidden"], result["new"]) == (4, 2, 2)
    rules_in_archive(home / "archive", OPEN_RULES + NO_COPYLEFT)
    out = inside("policy", "what-if", "--rules", "new.cedar", home=home).ok().out
    assert out.endswith(
        "of 4 revisions here, 2 would be forbidden something, 0 of them what they are not now\n"
    )
    assert "org/fine@" in out


def test_what_if_of_rules_that_forbid_nothing(home: Path) -> None:
    (home / "new.cedar").write_text(OPEN_RULES)
    out = inside("policy", "what-if", "--rules", "new.cedar", home=home).ok().out
    assert out.startswith("of 1 revision here, 0 would")


def test_an_example_can_be_copied_and_checked(home: Path) -> None:
    (home / "new.cedar").write_text(packaged("examples/no-copyleft.cedar"))
    inside("policy", "check", "new.cedar", home=home).ok()
