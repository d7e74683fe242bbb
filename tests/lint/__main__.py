"""`python -m tests.lint`: what ruff, mypy and import-linter do not check. Part of `make lint`."""

import sys
import tomllib

from tests.lint import rooms, words
from tests.lint.sources import ROOT, allowed, apply, modules
from tests.lint.uncalled import uncalled


def main() -> int:
    found = modules()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    messages = apply(uncalled(found, project["scripts"].values()), allowed("uncalled"))
    messages += apply(rooms.crowded(found), allowed("crowded"))
    messages += apply(rooms.twice(found), allowed("twice"))
    messages += words.retired(words.uses(words.load()))
    for message in messages:
        print(message)
    print(f"tests.lint: {len(messages) or 'no'} findings in {len(found)} modules")
    return bool(messages)


if __name__ == "__main__":
    sys.exit(main())
