"""``outlast guide``."""

import difflib
import re
import sys
from pathlib import Path
from typing import Final

import click

import outlast
from outlast.cli.screen.render import print_table
from outlast.core.errors import EntryNotFoundError, UsageError

_ORDER: Final = ("guide", "", "format")
"""The folders of the documents, in the order in which topics are listed."""
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\(([^()\s]+)\)")
_FENCE: Final = "```"
_MARK: Final = "<!--"
_SHOWN: Final = 200


def documents() -> dict[str, Path]:
    """The documents that came with this program, by topic."""
    package = Path(outlast.__file__).parent
    # A wheel has them in the package; a checkout has them at its root.
    places = (package / "docs", package.parents[1] / "docs")
    root = next((place for place in places if (place / "guide").is_dir()), places[0])
    pages = [page for part in _ORDER for page in sorted((root / part).glob("*.md"))]
    if not pages:
        raise EntryNotFoundError(
            "the guides are not installed", hint="reinstall outlast: its wheel brings them"
        )
    return {
        page.stem: page for page in pages if page.stem not in ("README", "simulation", "threads")
    }


def plain(text: str, topics: frozenset[str]) -> str:
    """A page for a terminal: links say where they lead, and to which topic."""
    lines, fenced = [], False
    for line in text.splitlines():
        fenced ^= line.startswith(_FENCE)
        if not fenced and line.startswith(_MARK):
            continue
        lines.append(line if fenced else _LINK.sub(lambda found: _said(found, topics), line))
    return "\n".join(lines).strip("\n") + "\n"


def _said(found: re.Match[str], topics: frozenset[str]) -> str:
    text, target = found[1], found[2]
    if target.startswith(("http:", "https:")):
        return f"{text} ({target})"
    topic = Path(target.partition("#")[0]).stem
    return f"{text} ('outlast guide {topic}')" if topic in topics else text


@click.command(
    epilog="""\b
Examples:
  outlast guide                   list the topics
  outlast guide run               chat, and the API of a model
  outlast guide configuration | less

\b
Exit status:
  0 done · 2 usage, or no such topic
"""
)
@click.argument("topic", required=False)
def guide(topic: str | None) -> None:
    """Print the guide about TOPIC, or list the topics.

    The guides are part of the installation: nothing is fetched.
    """
    pages = documents()
    if topic is None:
        rows = [(name, _title(page)) for name, page in pages.items()]
        print_table([("TOPIC", "WHAT IT EXPLAINS"), *rows])
    elif topic in pages:
        sys.stdout.write(plain(pages[topic].read_text(encoding="utf-8"), frozenset(pages)))
    else:
        raise UsageError(
            f"there is no guide about {topic[:_SHOWN]!r}", hint=_hint(topic, list(pages))
        )


def _hint(topic: str, known: list[str]) -> str:
    """The topic that was meant, the help of the command of that name, or all topics."""
    group = click.get_current_context().find_root()
    if isinstance(group.command, click.Group) and topic in group.command.list_commands(group):
        return f"'outlast {topic} --help' explains the command; topics: {', '.join(known)}"
    near = difflib.get_close_matches(topic[:_SHOWN], known, 1)
    return f"did you mean {near[0]!r}?" if near else f"topics: {', '.join(known)}"


def _title(page: Path) -> str:
    with page.open(encoding="utf-8") as lines:
        return next((line[2:].strip() for line in lines if line.startswith("# ")), page.stem)
