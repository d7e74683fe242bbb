"""What a configuration file says, once it is read; or the defaults, where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outlast.intake.form_policy import FormWish
from outlast.mirror.limits import IntakeLimits
from outlast.node.policy import SharePolicy
from outlast.store.garbage.tuning import DAY, GRACE
from outlast.swarm.settings import SwarmSettings


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """[serve]: names that a server answers to beside the machine's own, and what clients may make
    a mirror fetch.
    """

    hosts: tuple[str, ...] = ()
    intake: IntakeLimits = field(default_factory=IntakeLimits)


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Each field is a key of the file, or a section; `features` are those of features, by name."""

    home: str = ""
    sources: tuple[str, ...] = ()
    connections: int = 8
    rate: int = 0
    form: FormWish = FormWish.AUTO
    tokens: Mapping[str, str] = field(default_factory=dict)
    working_copies: int | None = None
    gc_grace: float = GRACE / DAY
    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    share: SharePolicy = field(default_factory=SharePolicy)
    serve: ServeSettings = field(default_factory=ServeSettings)
    features: Mapping[str, Any] = field(default_factory=dict)
