"""The program: the command line, with the features that are in the tree."""

from typing import NoReturn

from outlast.cli.main import main
from outlast.features import FEATURES


def run() -> NoReturn:
    """Entry point of the ``outlast`` command and of ``python -m outlast``."""
    main(features=FEATURES)


if __name__ == "__main__":
    run()
