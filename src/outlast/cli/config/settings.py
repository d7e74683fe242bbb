"""What a configuration file says, once it is read; or the defaults, where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outlast.core.errors import BadConfigError
from outlast.intake.form_policy import FormWish
from outlast.intake.formats.allowed import UnsafeWish
from outlast.mirror.limits import IntakeLimits
from outlast.node.policy import SharePolicy
from outlast.sources.settings import S3Place
from outlast.store.garbage.tuning import DAY, GRACE
from outlast.store.soundness.tuning import TUNING as SOUNDNESS
from outlast.swarm.settings import SwarmSettings


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """[serve]: names that a server answers to beside the machine's own, and what clients may make
    a mirror fetch. `unsafe` says what clients get of files in quarantine beside those with a
    digest of `allow_unsafe`.
    """

    hosts: tuple[str, ...] = ()
    intake: IntakeLimits = field(default_factory=IntakeLimits)
    unsafe: UnsafeWish = UnsafeWish.WITHHOLD
    allow_unsafe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class S3Settings:
    """[s3]: where the store of ``s3://`` sources is, and the keys to it."""

    place: S3Place = field(default_factory=S3Place)
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @property
    def keys(self) -> str | None:
        """The keys as a token of the source; None if there are none. Raises
        :class:`BadConfigError`, which says none of them.
        """
        parts = [self.access_key_id, self.secret_access_key]
        if not any((*parts, self.session_token)):
            return None
        if not all(parts):
            raise BadConfigError(
                "of the two keys to s3:// sources one is missing",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or both in [s3]",
            )
        parts += [self.session_token] if self.session_token else []
        text = ":".join(parts)
        if text.count(":") >= len(parts) or not text.isascii() or not text.isprintable():
            raise BadConfigError("a key to s3:// sources holds characters that no key has")
        return text


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
    identity: str = ""
    recheck_days: float = SOUNDNESS.recheck / DAY
    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    share: SharePolicy = field(default_factory=SharePolicy)
    serve: ServeSettings = field(default_factory=ServeSettings)
    s3: S3Settings = field(default_factory=S3Settings)
    features: Mapping[str, Any] = field(default_factory=dict)
