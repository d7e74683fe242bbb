"""`python -m tests.lint`: what ruff, mypy and import-linter do not check. Part of `make lint`.

With --counts: how often each room uses retired words, and nothing else.
"""

import sys
import tomllib

from tests.lint import rooms, words
from tests.lint.sources import ROOT, allowed, apply, modules
from tests.lint.uncalled import uncalled


def main(arguments: list[str]) -> int:
    rules = words.load()
    if arguments == ["--counts"]:
        print(words.counts(rules, words.uses(rules)))
        return 0
    if arguments:
        sys.exit(__doc__)
    found = modules()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    messages = apply(uncalled(found, project["scripts"].values()), allowed("uncalled"))
    messages += apply(rooms.crowded(found), allowed("crowded"))
    messages += apply(rooms.twice(found), allowed("twice"))
    messages += words.retired(rules, words.uses(rules))
    for message in messages:
        print(message)
    print(f"tests.lint: {len(messages) or 'no'} findings in {len(found)} modules")
    return bool(messages)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
