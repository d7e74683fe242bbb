"""Routes as values: public names, the targets behind them, and how these are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from outlast.core.names import Target
from outlast.features.gateway.seams import Continuing

Mode = Literal["as-listed", "hosted-first", "local-first", "cheapest", "fastest"]
MODES: Final[tuple[str, ...]] = get_args(Mode)
Speaks = Literal["openai", "anthropic"]
Auth = Literal["bearer", "x-api-key", "api-key"]
Asks = Literal["chat", "completions", "embeddings"]
ASKS: Final[tuple[str, ...]] = get_args(Asks)
AUTHS: Final[tuple[str, ...]] = get_args(Auth)
SPEAKS: Final[tuple[str, ...]] = get_args(Speaks)


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long a target may take, in seconds: to connect, to say its first token, from one to the
    next, and for an answer as a whole. `first_byte` is for answers that come as a whole: they are
    computed before their first byte; `stall` holds between their bytes, too.
    """

    connect: float = 3.0
    first_token: float = 30.0
    stall: float = 15.0
    whole: float = 600.0
    first_byte: float = 120.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that answers in OpenAI's protocol, or in Anthropic's where `speaks` says so, at one
    URL or, as replicas, at several. `key` is the operator's, and `key_from` says where it stands.
    `hosted`: it belongs to a provider. `continues`: how it goes on from a text (None: it cannot).
    `counts`: it takes `stream_options`. `approved`: routes that take only what the rules allow may
    use it.
    """

    name: str
    urls: tuple[str, ...]
    key: str | None = field(default=None, repr=False)
    key_from: str = ""
    auth: Auth = "bearer"
    provider: str = ""
    jurisdiction: str = ""
    hosted: bool = True
    continues: Continuing | None = None
    counts: bool = True
    approved: bool = False
    speaks: Speaks = "openai"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model of the archive and how its engine is started. `idle`: seconds without a request after
    which the engine of a model that is not `warm` is stopped. `context` is in tokens. `adapters`
    are loaded beside it: all that the file names for it, so that one engine answers for all.
    """

    model: Target
    warm: bool = False
    idle: float = 600.0
    file: str | None = None
    context: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    sealed: bool = False
    adapters: tuple[Target, ...] = ()

    def adapter_named(self, name: str) -> Target | None:
        """The adapter of that name; None for the model alone, by the empty name. Raises
        :class:`KeyError` for another.
        """
        return {str(one): one for one in self.adapters}[name] if name else None


@dataclass(frozen=True, slots=True)
class GatewayTarget:
    """`model` at an endpoint, or of the archive, there with `adapter` (None: alone). `name` is what
    the file calls it.
    """

    name: str
    model: str
    endpoint: Endpoint | None = None
    local: LocalModel | None = None
    adapter: Target | None = None

    @property
    def hosted(self) -> bool:
        return self.endpoint is not None and self.endpoint.hosted

    @property
    def speaks_messages(self) -> bool:
        """Whether it is asked in Anthropic's protocol."""
        return self.endpoint is not None and self.endpoint.speaks == "anthropic"

    @property
    def provider(self) -> str:
        return "archive" if self.endpoint is None else self.endpoint.provider

    @property
    def jurisdiction(self) -> str:
        return "" if self.endpoint is None else self.endpoint.jurisdiction

    @property
    def continues(self) -> Continuing | None:
        return "prefill" if self.endpoint is None else self.endpoint.continues


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """A public name and its targets. `latency_goal`: seconds to the first token, for `cheapest`;
    `most_price`: nano-dollars of a million tokens, half of them of the answer, for `fastest`.
    `substitutes`: another target than the first choice may answer. `only_allowed`: archive targets
    that the rules let run, and endpoints that the operator approved. `asks`: what probes ask for.
    """

    name: str
    targets: tuple[GatewayTarget, ...]
    mode: Mode = "as-listed"
    latency_goal: float | None = None
    most_price: int | None = None
    substitutes: bool = True
    only_allowed: bool = False
    asks: Asks = "chat"
    clocks: Clocks = Clocks()


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans are sent: a collector's URL for traces by OTLP over HTTP. `share` of the requests
    have one (1: all) where the caller's trace does not decide it.
    """

    endpoint: str
    service: str = "outlast-gateway"
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class GatewayRoutes:
    """The file as a whole. `drain`: seconds that streams get to end when the gateway stops.
    `audits`: endpoints that an audit found divergent are not asked. `tracing`: None sends nothing.
    """

    routes: Mapping[str, GatewayRoute]
    drain: float = 30.0
    audits: bool = True
    tracing: TracingSettings | None = None

    @property
    def targets(self) -> tuple[GatewayTarget, ...]:
        """Each target once, in the order of the file."""
        found = {t.name: t for route in self.routes.values() for t in route.targets}
        return tuple(found.values())

    @property
    def local_models(self) -> tuple[LocalModel, ...]:
        return tuple(t.local for t in self.targets if t.local is not None)
