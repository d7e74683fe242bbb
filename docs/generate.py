"""Writes what the code says into the documents: docs/cli.md, docs/errors.md, docs/json.md, the
tables of docs/guide/configuration.md, the layers in ARCHITECTURE.md and the list of decisions. With
--check it only says what is stale or wrong.
"""

import re
import sys
import tomllib
from pathlib import Path

import click

from docs.checks import first_sentence, problems
from docs.lines import all_commands, json_page
from docs.parts import with_part
from docs.settings import configuration
from outlast.cli.main import outlast
from outlast.core.errors import all_errors
from outlast.features import FEATURES

ROOT = Path(__file__).parents[1]
_HEAD = "<!-- Written by `make docs`. Do not edit. -->\n"
_WIDTH = 90


def cli_reference() -> str:
    """Every command's help, as it is printed in a terminal of 90 columns."""
    root = click.Context(
        outlast,
        info_name="outlast",
        obj=FEATURES,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=outlast.context_settings["help_option_names"],
    )
    parts = [_HEAD, "# Command line\n", _help(root)]
    for name, command in all_commands(root):
        parts.append(f"## outlast {name}\n")
        parts.append(_help(click.Context(command, parent=root, info_name=name)))
    return "\n".join(parts)


def _help(context: click.Context) -> str:
    return f"```\n{context.get_help()}\n```\n"


def error_table() -> str:
    """Every error code, with its exit status, meaning and default hint."""
    rows = ["| code | exit status | meaning | hint |", "|---|---|---|---|"]
    for error in sorted(all_errors(), key=lambda e: (e.exit_code, e.code)):
        meaning = " ".join((error.__doc__ or "").split("\n\n")[0].split())
        rows.append(f"| `{error.code}` | {error.exit_code} | {meaning} | {error.default_hint} |")
    intro = (
        "Every expected error is one line on stderr: `outlast: error[code]: message (hint: …)`.\n"
        "The exit status is its family's. Anything with a traceback is a bug: please report it.\n"
    )
    return "\n".join([_HEAD, "# Errors\n", intro, *rows]) + "\n"


def layer_table() -> str:
    """The import contracts as tables: a row for each layer, the uppermost first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    source = ROOT / "src" / settings["root_package"]
    parts, others = [], []
    for contract in settings["contracts"]:
        if contract["type"] != "layers":
            others.append(f"- {contract['name']}.\n")
            continue
        folder = source.joinpath(*contract["containers"][0].split(".")[1:])
        rows = [f"**{contract['name']}**\n", "| level | room | what it is for |", "|--:|---|---|"]
        for level, layer in zip(
            range(len(contract["layers"]), 0, -1), contract["layers"], strict=True
        ):
            rows += [
                f"| {level} | `{name}` | {_purpose(folder, name)} |"
                for name in re.split(r" *[|:] *", layer.strip("()"))
            ]
        parts.append("\n".join(rows) + "\n")
    return "\n".join([*parts, "Other contracts:\n", "".join(others)])


def _purpose(folder: Path, name: str) -> str:
    room = folder / name / "__init__.py"
    return first_sentence(room if room.exists() else folder / f"{name}.py")


def decisions() -> str:
    """The list of the ADRs, with their dates and what became of them."""
    rows = ["| | | date | status |", "|---|---|---|---|"]
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        text = path.read_text()
        found = [
            re.search(pattern, text, re.MULTILINE)
            for pattern in (r"^# \d+: (.+)$", r"^Date: ([\d-]+)$", r"^Status: (.+)$")
        ]
        title, date, status = (match[1] if match else "**missing**" for match in found)
        rows.append(f"| [{path.name[:4]}]({path.name}) | {title} | {date} | {status} |")
    return "\n".join(rows) + "\n"


def pages() -> dict[Path, str]:
    """All that is written here, by file."""
    architecture, adr = ROOT / "ARCHITECTURE.md", ROOT / "docs" / "adr" / "README.md"
    guide = ROOT / "docs" / "guide" / "configuration.md"
    return {
        ROOT / "docs" / "cli.md": cli_reference(),
        ROOT / "docs" / "errors.md": error_table(),
        ROOT / "docs" / "json.md": f"{_HEAD}\n{json_page(FEATURES)}",
        architecture: with_part(architecture.read_text(), "layers", layer_table()),
        adr: with_part(adr.read_text(), "decisions", decisions()),
        guide: configuration(guide.read_text()),
    }


def main() -> int:
    stale = []
    for path, text in pages().items():
        if path.exists() and path.read_text() == text:
            continue
        if "--check" in sys.argv:
            stale.append(str(path.relative_to(ROOT)))
        else:
            path.write_text(text)
    if stale:
        print(f"stale: {', '.join(stale)}; run 'make docs'", file=sys.stderr)
    found = problems(ROOT)
    for problem in found:
        print(problem, file=sys.stderr)
    return int(bool(stale or found))


if __name__ == "__main__":
    sys.exit(main())
