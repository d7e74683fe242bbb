"""Words that both pages share. Everything from a model is hostile text: see :func:`visible`."""

from typing import Final

CHECK_COMMANDS: Final = (
    ("python3 verify.py", "checks everything: every part, block, manifest and file"),
    ("python3 verify.py --quick", "checks the parts' sha256 and the manifests alone"),
    ("python3 verify.py --list", "lists models, files and digests, from what was checked"),
    ("python3 verify.py --restore FOLDER", "writes plain files to FOLDER"),
    ("outlast import .", "takes the bundle into an archive, and repairs it from parity"),
)
ABOUT: Final = (
    "This folder is a bundle: models on their way from one archive to another, with all that is"
    " needed to check and read them. verify.py is one file of Python 3.8 or later; it needs no"
    " package and no network, changes nothing here, and can be read before it is run."
)
PROOF: Final = (
    "The id below is the sha256 of the contents. They name every manifest by its sha256, and the"
    " manifests every file. So who knows the id by another way (a phone call, a signature) knows"
    " all of it: `python3 verify.py --id ID`. This page itself is proven by nothing; `python3"
    " verify.py --list` says the same from what was checked."
)
PROGRAM: Final = (
    "This bundle brings outlast and its engine: `install.sh` and the wheels that it installs. "
    "Nothing runs them but a person who does. Their sums are part of the bundle's id: `verify.py "
    "--id` proves that they are the files that were exported, and not who made them."
)
PROGRAM_COMMANDS: Final = (
    ("python3 verify.py --id ID", "compare them, with the id that came another way"),
    ("less install.sh", "read it first: some 50 lines"),
    ("sh install.sh", "install; no network, no root"),
    ("python3 verify.py --program FOLDER", "restore them where the medium is damaged"),
)
MOST_FILES: Final = 2000
"""Files of a revision that a page lists."""


def visible(text: str) -> str:
    """`text` in one line, with what steers or hides written out."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
