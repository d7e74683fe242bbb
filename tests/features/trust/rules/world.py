"""Rules, and models that they judge."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.core.policy import Subject
from outlast.features.trust.rules.attributes import Knowledge
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.features.trust.rules.labels import Labels
from outlast.features.trust.rules.publishers import read_publishers

OPEN_RULES = '@id("all") permit (principal, action, resource);\n'
NO_ACME = """
@id("no-acme") @reason("not from acme")
forbid (principal, action, resource) when { resource.publisher == "acme" };
"""
NO_COPYLEFT = """
@id("no-copyleft") @reason("copyleft")
forbid (principal, action, resource) when { resource.licence.copyleft == "strong" };
"""


def subject(name: str = "org/name", **more: Any) -> Subject:
    files = (FileEntry("model.safetensors", 5),)
    return Subject(RepoId.parse(name), **{"files": files, **more})


def knowledge(**more: Any) -> Knowledge:
    return Knowledge(read_publishers(None), Labels({}), **more)


def attributes(**more: Any) -> dict[str, Any]:
    return knowledge().attributes(subject(**more))


def gate_of(folder: Path, *texts: str, **more: Any) -> RulesGate:
    """A gate over files with these rules."""
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.cedar"
        path.write_text(text)
        paths.append(path)
    return RulesGate(RuleFiles(tuple(paths)), **more)


def rules_in_archive(home: Path, text: str) -> None:
    """Gives the archive in `home` rules of its own."""
    (home / "trust").mkdir(parents=True, exist_ok=True)
    (home / "trust" / "rules.cedar").write_text(text)


def state_of(home: Path) -> Mapping[str, int]:
    """Every file of an archive with its size, but what tells that it was looked at."""
    return {
        path.relative_to(home).as_posix(): path.stat().st_size
        for path in home.rglob("*")
        if path.is_file() and path.name not in {"lock", "index.sqlite-wal", "index.sqlite-shm"}
    }
