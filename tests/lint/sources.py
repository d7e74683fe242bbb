"""The modules of src, and the table of what the checks allow, each with its reason."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "outlast"
APART = {"carried"}
"""Folders of programs that are no modules of the package: bundles carry them to bare hosts."""


@dataclass(frozen=True)
class Module:
    """A module of the package below `root`/src: `name` is dotted, `path` relative to `root`."""

    name: str
    path: str
    tree: ast.Module


def modules(root: Path = ROOT) -> list[Module]:
    """Every module of the package, by path."""
    return list(_modules(root))


def _modules(root: Path) -> Iterator[Module]:
    for file in sorted((root / "src" / PACKAGE).rglob("*.py")):
        parts = file.relative_to(root / "src").with_suffix("").parts
        if APART & {*parts}:
            continue
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield Module(name, file.relative_to(root).as_posix(), ast.parse(file.read_text()))


def allowed(table: str) -> dict[str, str]:
    """What `table` of allowed.toml lets pass: name → reason."""
    found = tomllib.loads((Path(__file__).parent / "allowed.toml").read_text())[table]
    return {str(name): str(reason) for name, reason in found.items()}


def apply(findings: dict[str, str], table: dict[str, str]) -> list[str]:
    """The messages of `findings` (name → message) that `table` does not allow, and a message for
    each entry of the table that allows nothing.
    """
    messages = [message for name, message in findings.items() if name not in table]
    for name, reason in table.items():
        if name not in findings:
            messages.append(f"tests/lint/allowed.toml: {name!r} is not needed")
        if not reason:
            messages.append(f"tests/lint/allowed.toml: {name!r} has no reason")
    return messages
