"""Lines of `config`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from outlast.cli.documents.document import Document, document


@document("config")
class SettingDocument(Document):
    """A setting, and where its value comes from."""

    type: Literal["setting"] = "setting"
    key: Annotated[str, "its name, as `swarm.peer-port`"]
    value: Annotated[
        Any,
        "as the file would say it; null if it is not set. `(set)` stands in place of a secret",
    ]
    unit: Annotated[str | None, "`bytes`, `bytes/s` or `days`"]
    origin: Annotated[
        Literal["flag", "environment", "file", "setting", "default"],
        "where the value comes from; `setting`: another setting turns this one off",
    ]
    from_: Annotated[str | None, "that flag, variable, file or setting"] = dataclasses.field(
        metadata={"name": "from"}
    )
    flag: Annotated[str | None, "the flag that sets it"]
    environment: Annotated[Sequence[str], "the variables that set it; the first one goes first"]
    about: Annotated[str, "what it is, for a person"]


@document("config")
class ConfigWrittenDocument(Document):
    """The result of `config --init`."""

    type: Literal["config-written"] = "config-written"
    path: Annotated[Path, "the new file"]
    backup: Annotated[Path | None, "the file that was there before"]
