"""Writes docs/cli.md and docs/errors.md from the code; --check says whether they are stale."""

import sys
from pathlib import Path

import click

from outlast.cli.main import COMMANDS, outlast
from outlast.core.errors import all_errors

FOLDER = Path(__file__).parent
_HEAD = "<!-- Written by `make docs`. Do not edit. -->\n"


def cli_reference() -> str:
    """Every command's help, as it is printed in a terminal of 90 columns."""
    parts = [_HEAD, "# Command line\n", _help(outlast, "outlast")]
    root = click.Context(outlast, info_name="outlast")
    for name in COMMANDS:
        command = outlast.get_command(root, name)
        assert command is not None
        parts.append(f"## outlast {name}\n")
        parts.append(_help(command, f"outlast {name}"))
    return "\n".join(parts)


def _help(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, terminal_width=90, max_content_width=90)
    return f"```\n{command.get_help(context)}\n```\n"


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


def main() -> int:
    pages = {"cli.md": cli_reference(), "errors.md": error_table()}
    stale = []
    for name, text in pages.items():
        path = FOLDER / name
        if path.exists() and path.read_text() == text:
            continue
        if "--check" in sys.argv:
            stale.append(name)
        else:
            path.write_text(text)
    if stale:
        print(f"stale: {', '.join(stale)}; run 'make docs'", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
