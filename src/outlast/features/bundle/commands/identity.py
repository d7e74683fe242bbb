"""The option ``--identity``."""

from pathlib import Path
from typing import Any, Final

import click

from outlast.cli.edge import Session
from outlast.sources.bundle.age import Keyring

IDENTITY: Final[dict[str, Any]] = {
    "type": click.Path(path_type=Path),
    "metavar": "FILE",
    "help": "File of age-keygen, or an OpenSSH private key, that opens encrypted bundles",
}


def keyring(run: Session, identity: Path | None) -> Keyring:
    """The keys of the option, or else of the configuration."""
    return Keyring(identity or run.config.identity)
