"""Files of rules that are not what they were, or no files at all, let nothing pass."""

import os
import shutil
from pathlib import Path

import pytest

from outlast.core.errors import BadConfigError, BadRulesError
from outlast.core.policy import Action
from outlast.features.trust.rules.data_files import MOST_BYTES
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.features.trust.rules.rule_set import read_rules
from tests.cli.call import inside
from tests.features.trust.rules.world import NO_ACME, OPEN_RULES, gate_of, rules_in_archive, subject


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    inside("add", "mine", "--as", "acme/mine", home=tmp_path).ok()
    rules_in_archive(tmp_path / "archive", OPEN_RULES + NO_ACME)
    return tmp_path


def broken(kind: str, path: Path) -> None:
    """Puts in the place of `path` what cannot be read as rules."""
    path.unlink()
    match kind:
        case "dangling":
            path.symlink_to(path.parent / "gone")
        case "loop":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "huge":
            with path.open("wb") as file:
                file.truncate(10 << 30)
        case "nothing":
            path.touch()
        case "no-folder":
            folder = path.parent
            shutil.rmtree(folder)
            folder.symlink_to("nowhere")


KINDS = ("dangling", "loop", "pipe", "folder", "huge", "nothing", "no-folder")


@pytest.mark.parametrize("kind", KINDS)
def test_rules_in_an_archive_that_cannot_be_read_refuse(kind: str, home: Path) -> None:
    broken(kind, home / "archive" / "trust" / "rules.cedar")
    call = inside("link", "acme/mine", "--folder", "out", home=home)
    assert call.failed("refused-by-rules")
    assert not (home / "out").exists()


@pytest.mark.parametrize("table", ["publishers.toml", "labels.toml"])
@pytest.mark.parametrize("kind", ["dangling", "loop", "pipe", "folder", "huge"])
def test_so_do_tables(kind: str, table: str, home: Path) -> None:
    rules_in_archive(home / "archive", OPEN_RULES)
    (home / "archive" / "trust" / table).touch()
    broken(kind, home / "archive" / "trust" / table)
    call = inside("link", "acme/mine", "--folder", "out", home=home)
    assert call.failed("refused-by-rules")


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    """As copying programs make it, which give a file the time of another one."""
    gate = gate_of(tmp_path, OPEN_RULES + NO_ACME.replace("acme", "acne"))
    path = tmp_path / "0.cedar"
    before = path.stat()
    assert gate.judge(Action.RUN, subject("acme/name")).allowed
    with path.open("r+") as file:
        file.write(OPEN_RULES + NO_ACME)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not gate.judge(Action.RUN, subject("acme/name")).allowed


def test_a_file_that_became_unreadable_refuses(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, OPEN_RULES)
    assert gate.judge(Action.RUN, subject()).allowed
    path = tmp_path / "0.cedar"
    path.rename(tmp_path / "other")
    os.mkfifo(path)
    assert not gate.judge(Action.RUN, subject()).allowed
    path.unlink()
    path.mkdir()
    assert not gate.judge(Action.RUN, subject()).allowed


@pytest.mark.parametrize(
    "rule",
    [
        'forbid (principal, action, resource) when { resource.publisher like "Acme*" };',
        'forbid (principal, action, resource) when { resource.name like "*/Llama-*" };',
        'forbid (principal, action, resource) when { resource.jurisdiction like "China*" };',
        'forbid (principal, action, resource == Model::"Acme/Name");',
        'forbid (principal, action, resource) when { resource == Model::"Acme/Name" };',
        'forbid (principal == Archive::"there", action, resource);',
        'forbid (principal, action, resource) when { principal == Archive::"there" };',
        'forbid (principal, action, resource) when { resource in [Model::"Acme/Name"] };',
        'forbid (principal, action, resource) when { resource.bases.containsAny(["A/b"]) };',
        'forbid (principal, action, resource) when { resource["publisher"] == "Acme" };',
        'forbid (principal, action, resource) when { (if true then resource.name else "") == "A"};',
    ],
)
def test_a_rule_that_can_never_decide_does_not_load(rule: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.cedar"
    path.write_text(OPEN_RULES + '@id("never") ' + rule)
    with pytest.raises(BadRulesError, match="never"):
        read_rules(path)


@pytest.mark.parametrize(
    "rule",
    [
        'forbid (principal, action, resource) when { resource.publisher like "ac*me" };',
        'forbid (principal, action, resource == Model::"acme/name");',
        'forbid (principal == Archive::"here", action, resource);',
        "forbid (principal is Archive, action, resource is Model);",
        'forbid (principal, action in [Action::"run", Action::"pull"], resource);',
    ],
)
def test_one_that_can_does(rule: str, tmp_path: Path) -> None:
    gate = gate_of(tmp_path, OPEN_RULES + '@id("sometimes") ' + rule)
    gate.load()
    verdict = gate.judge(Action.RUN, subject("acme/name"))
    assert (verdict.allowed, verdict.rule) == (False, "sometimes")


def test_a_rules_file_of_ten_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "rules.cedar"
    path.touch()
    broken("huge", path)
    gate = RulesGate(RuleFiles((path,)))
    with pytest.raises(BadConfigError, match=f"more than {MOST_BYTES}"):
        gate.load()
