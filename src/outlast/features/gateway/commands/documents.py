"""Lines of ``gateway``."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document


@document("gateway")
class ServingGatewayDocument(Document):
    """The gateway answers. Its log is JSON, too, and goes to stderr."""

    type: Literal["serving"] = "serving"
    url: Annotated[str, "the base URL for OpenAI's clients"]
    routes: Annotated[Sequence[str], "the models that callers may name"]


@document("gateway")
class CheckedTargetDocument(Document):
    """A server of a target, as `gateway check` found it."""

    type: Literal["checked"] = "checked"
    target: Annotated[str, "the target, as the file of routes names it"]
    url: Annotated[str, "where it is; `archive`: an engine of the gateway's own"]
    answers: Annotated[bool, "whether it answered with one token"]
    fault: Annotated[str | None, "the kind of fault, where it did not"]
    error: Annotated[str | None, "the fault in words"]
    seconds: Annotated[float, "until it answered, an engine's start included"]


@document("gateway")
class DrilledRouteDocument(Document):
    """A route while one hosted target is blocked, in `gateway drill`."""

    type: Literal["drilled"] = "drilled"
    route: Annotated[str, "the route"]
    blocked: Annotated[str, "the hosted target that is not asked"]
    target: Annotated[str | None, "the target that answers in its place; null: none does"]
    seconds: Annotated[float | None, "until it answered"]
    faults: Annotated[Sequence[str], "the other targets that were asked first, and their faults"]
