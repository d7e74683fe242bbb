"""Functions, methods and classes of src that src never uses.

A function or class of a module is used where its own module names it outside of its own body, or
another module imports it. A method is used where any module reads an attribute of its name outside
of its own body: the check knows no types, so a common name can hide a method that has no caller.
What `__all__` of the package promises, with the public methods of such classes, is for its users.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.lint.sources import PACKAGE, Module

_ENTRY = re.compile(r"([\w.]+):(\w+)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_Name = tuple[str, str]


@dataclass
class _Seen:
    """`tops` are defined at the top of (module, name), `inner` in a class or function; both map to
    (path, line). `named` and `read` are what is used: names of modules; and attributes, with the
    (module, name) of the definitions that read them.
    """

    tops: dict[_Name, tuple[str, int]] = field(default_factory=dict)
    inner: dict[_Name, tuple[str, int]] = field(default_factory=dict)
    named: set[_Name] = field(default_factory=set)
    read: dict[str, set[_Name]] = field(default_factory=lambda: defaultdict(set))
    exports: dict[_Name, _Name] = field(default_factory=dict)

    def origin(self, name: _Name) -> _Name:
        """Where a name is defined that a package hands on."""
        for _ in range(8):
            if name in self.tops or name not in self.exports:
                break
            name = self.exports[name]
        return name


class _Visitor(ast.NodeVisitor):
    def __init__(self, module: Module, names: set[str], seen: _Seen) -> None:
        self._module = module
        self._names = names
        self._seen = seen
        self._inside: list[str] = []
        self._bound: dict[str, _Name] = {}
        """Local name → (module, name), or (module, "") for a module."""
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    self._bind(node.module, alias)
            elif isinstance(node, ast.Import):
                self._bound |= {a.asname: (a.name, "") for a in node.names if a.asname}

    def _bind(self, source: str, alias: ast.alias) -> None:
        local = alias.asname or alias.name
        whole = f"{source}.{alias.name}"
        self._bound[local] = (whole, "") if whole in self._names else (source, alias.name)
        self._seen.exports[self._module.name, local] = self._bound[local]

    def _define(self, node: _Definition) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        if not node.name.startswith("__"):
            table = self._seen.inner if self._inside else self._seen.tops
            dotted = ".".join([*self._inside, node.name])
            table.setdefault((self._module.name, dotted), (self._module.path, node.lineno))
        self._inside.append(node.name)
        for _, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and child not in node.decorator_list:
                    self.visit(child)
        self._inside.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _define  # noqa: N815

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._use(node.id)

    def _use(self, name: str) -> None:
        bound = self._bound.get(name)
        if bound is not None:
            self._seen.named.add(bound)
        elif self._inside[:1] != [name]:
            self._seen.named.add((self._module.name, name))
            self._read(f"{self._module.name}:{name}")

    def _read(self, name: str) -> None:
        self._seen.read[name].add((self._module.name, ".".join(self._inside)))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if not isinstance(node.ctx, ast.Load):
            return
        bound = self._bound.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if bound is not None and not bound[1]:
            self._seen.named.add((bound[0], node.attr))
        else:
            self._read(node.attr)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called in {"getattr", "hasattr"} and isinstance(node.args[1], ast.Constant):
            self._read(str(node.args[1].value))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """A table of commands names "module:function"; an annotation may be a text."""
        if not isinstance(node.value, str):
            return
        if entry := _ENTRY.fullmatch(node.value):
            self._seen.named.add((entry[1], entry[2]))

    def _annotation(self, node: ast.expr | None) -> None:
        for part in ast.walk(node) if node is not None else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                for word in _WORD.findall(part.value):
                    self._use(word)

    def visit_arg(self, node: ast.arg) -> None:
        self._annotation(node.annotation)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        self.generic_visit(node)


def uncalled(modules: Iterable[Module], entries: Iterable[str]) -> dict[str, str]:
    """By dotted name, a message for each definition that has no use. `entries` are the entry
    points of the package, as "module:function".
    """
    modules = list(modules)
    seen = _Seen()
    for module in modules:
        _Visitor(module, {m.name for m in modules}, seen).visit(module.tree)
    named = {seen.origin(name) for name in seen.named}
    named |= {(m, f) for m, _, f in (entry.partition(":") for entry in entries)}
    users = _promised(modules)
    found = {}
    for (owner, name), (path, line) in sorted(seen.tops.items(), key=lambda item: item[1]):
        if (owner, name) not in named:
            found[f"{owner}.{name}"] = f"{path}:{line}: nothing in src uses {name}"
    for (owner, dotted), (path, line) in sorted(seen.inner.items(), key=lambda item: item[1]):
        name = dotted.rpartition(".")[2]
        if not (seen.read[name] | seen.read[f"{owner}:{name}"]) - {(owner, dotted)}:
            found[f"{owner}.{dotted}"] = f"{path}:{line}: nothing in src uses {dotted}"
    return {name: message for name, message in found.items() if not _is_for(users, name)}


def _promised(modules: Iterable[Module]) -> set[str]:
    """The names in `__all__` of the package itself."""
    for module in modules:
        for node in module.tree.body if module.name == PACKAGE else ():
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return set(ast.literal_eval(node.value))
    return set()


def _is_for(users: set[str], dotted: str) -> bool:
    """Whether a definition of the API is promised to its users."""
    room, _, name = dotted.partition(f"{PACKAGE}.api.")
    _, _, name = name.partition(".")
    top, *inner = name.split(".")
    return not room and top in users and not any(part.startswith("_") for part in inner)
