"""What can be wrong in the documents, found by reading them beside the code: links that lead
nowhere, names of modules that are gone, what is said twice, and a list of threads and locks that is
not the code's.
"""

import ast
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

_MAKES_THREADS = {"Thread", "Timer", "ThreadPoolExecutor", "DaemonPool", "to_thread"}
_MAKES_LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"}
_MAKES = re.compile(rf"\b(?:{'|'.join(sorted(_MAKES_THREADS | _MAKES_LOCKS))})\b")
_NOT_NAMES = {"py", "md", "toml", "example", "_kernels"}
"""Last parts of words that look like a module's name: ends of files, and what is built."""
_FENCE = re.compile(r"^```(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_NAMED_ROW = re.compile(r"\| `[^`]+` \|")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def problems(root: Path) -> list[str]:
    """All that is wrong, a line each."""
    found = []
    for path in documents(root):
        text = path.read_text()
        name = path.relative_to(root)
        found += [f"{name}: no such link: {link}" for link in dead_links(path, text)]
        found += [f"{name}: no such module or name: {word}" for word in dead_names(root, text)]
        found += [f"{name}: said twice: {line[:80]}" for line in said_twice(text)]
    for path in sorted((root / "src" / "outlast").rglob("__init__.py")):
        found += [
            f"{path.relative_to(root)}: no such name: {word}" for word in dead_public_names(path)
        ]
    return found + thread_drift(root)


def documents(root: Path) -> list[Path]:
    """Every page of the repository."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != "build" and not name.startswith(".")]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def said_twice(text: str) -> Iterator[str]:
    """Rows of a table that are about one name, and items of a list with one text: what is left
    where two changes of a page were joined.
    """
    seen = set[str]()
    for line in _FENCE.sub("", text).splitlines():
        if not line.startswith(("|", "- ")):
            seen.clear()
            continue
        name = _NAMED_ROW.match(line)
        said = line if name is None else name[0]
        if said in seen:
            yield line
        seen.add(said)


# Links


def dead_links(path: Path, text: str) -> Iterator[str]:
    """Links to files of the repository, or to headings, that do not exist."""
    for link in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, heading = link.partition("#")
        target = path.parent / place if place else path
        if not target.exists() or (heading and heading not in _headings(target.read_text())):
            yield link


def _headings(text: str) -> set[str]:
    """Anchors of the headings of a page, as code hosts make them."""
    titles = re.findall(r"^#+ +(.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# Names of modules


def dead_names(root: Path, text: str) -> Iterator[str]:
    """Modules, and what is in them, that a page names and that do not exist: `room/module.py` or
    `room.module.name` in code, the latter in diagrams too.
    """
    source = root / "src" / "outlast"
    rooms = "|".join(sorted(p.name for p in source.iterdir() if (p / "__init__.py").exists()))
    path = re.compile(rf"(?:src/outlast/)?((?:{rooms})/[\w/]+\.py)")
    dotted = re.compile(rf"(?:outlast\.)?((?:{rooms})(?:\.\w+)+)(?:\(\))?")
    in_diagram = re.compile(rf"(?<![\w./@:-])((?:{rooms})(?:\.[a-z_]\w*)+)(?![\w/-])")
    plain = _FENCE.sub("", text)
    words = _CODE.findall(plain)
    for word in words:
        if (found := path.fullmatch(word)) and not (source / found[1]).exists():
            yield word
        if (found := dotted.fullmatch(word)) and not _exists(source, found[1].split(".")):
            yield word
    for block in _FENCE.findall(text):
        if not block.startswith("\n"):  # in a language: a configuration, a session
            continue
        for name in in_diagram.findall(block):
            if not _exists(source, name.split(".")):
                yield name


def _exists(folder: Path, names: list[str]) -> bool:
    """Whether dotted names lead from a folder to a room, a module, or what is defined in one."""
    for count, name in enumerate(names):
        if (folder / name).is_dir():
            folder /= name
            continue
        module = folder / f"{name}.py"
        if module.exists():
            return _leads(_tree(module), names[count + 1 :])
        page = folder / "__init__.py"
        return names[-1] in _NOT_NAMES or (page.exists() and _leads(_tree(page), names[count:]))
    return True


def _leads(tree: ast.AST | None, names: list[str]) -> bool:
    """Whether a module defines the first name, what that is defines the second, and so on."""
    for name in names:
        tree = _defined(tree, name) if tree is not None else None
    return tree is not None


def _defined(tree: ast.AST, name: str) -> ast.AST | None:
    """What a module or class defines by this name, the attributes of its instances included."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                return node
            case ast.AnnAssign(target=ast.Name(id=found)) if found == name:
                return node
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                return node
            case _:
                pass
    for node in ast.walk(tree) if isinstance(tree, ast.ClassDef) else ():
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=found, ctx=ast.Store()):
                if found == name:
                    return node
            case _:
                pass
    return None


def dead_public_names(path: Path) -> Iterator[str]:
    """What a room's first lines name as public, and is not there."""
    text = ast.get_docstring(_tree(path)) or ""
    for word in _CODE.findall(text):
        if re.fullmatch(r"[a-z_]+(\.\w+)+", word) and not _exists(path.parent, word.split(".")):
            yield word


def first_sentence(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(_tree(path)) or ""
    return " ".join(text.split("\n\n")[0].split())


# Threads and locks


def thread_drift(root: Path) -> list[str]:
    """How docs/threads.md differs from the code: each place that makes a thread or a lock has a row
    there, and each row a place.
    """
    page = (root / "docs" / "threads.md").read_text()
    told = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    made = thread_places(root / "src" / "outlast")
    return [
        *(f"docs/threads.md: no row for {place}" for place in sorted(made - told)),
        *(f"docs/threads.md: nothing makes {place}" for place in sorted(told - made)),
    ]


def thread_places(source: Path) -> set[str]:
    """Where threads are made, as `room.module.Class.function`, and locks, as
    `room.module.Class.attribute`.
    """
    found: set[str] = set()
    for path in sorted(source.rglob("*.py")):
        module = ".".join(path.relative_to(source).with_suffix("").parts)
        if not _MAKES.search(path.read_text()):
            continue
        tree = _tree(path)
        for where, call in _calls(tree, ()):
            name = _called(call)
            if name in _MAKES_THREADS:
                found.add(".".join((module, *where)))
            elif name in _MAKES_LOCKS:
                found.add(".".join((module, *_holder(tree, call, where))))
    return found


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(value=ast.Name(id="threading" | "asyncio"), attr=name):
            return name
        case ast.Name(id=name):
            return name
        case _:
            return ""


def _calls(tree: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    """All calls, with the names of the classes and functions around them."""
    for node in ast.iter_child_nodes(tree):
        inner = where
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = (*where, node.name)
        if isinstance(node, ast.Call):
            yield where, node
        yield from _calls(node, inner)


def _holder(tree: ast.AST, call: ast.Call, where: tuple[str, ...]) -> tuple[str, ...]:
    """What a lock is kept in: an attribute of the class, a field of it, or a variable."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        if all(inner is not call for inner in ast.walk(node.value)):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        match target:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return (*where[:-1], name)
            case ast.Name(id=name):
                return (*where, name)
            case _:
                pass
    return where
