"""What a client asks of the model: checked and understood, before the engine hears of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from outlast.core.errors import one_line
from outlast.server.model.tools import Json, Tool
from outlast.server.model.words import RequestError

CHAT, RESPONSES, MESSAGES, EMBEDDINGS, RERANK, OTHER = (
    "chat",
    "responses",
    "messages",
    "embeddings",
    "rerank",
    "other",
)

POSTS: Mapping[str, str] = {
    "/v1/chat/completions": CHAT,
    "/chat/completions": CHAT,
    "/v1/responses": RESPONSES,
    "/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES,
    "/v1/embeddings": EMBEDDINGS,
    "/embeddings": EMBEDDINGS,
    "/embedding": EMBEDDINGS,
    "/v1/completions": OTHER,
    "/completions": OTHER,
    "/completion": OTHER,
    "/v1/rerank": RERANK,
    "/rerank": RERANK,
    "/apply-template": CHAT,
    "/tokenize": OTHER,
    "/detokenize": OTHER,
    "/infill": OTHER,
}
"""Where requests with a body go, and the kind of each."""


_BASE_ALONE = (MESSAGES, EMBEDDINGS, RERANK)
"""Kinds of requests in which llama.cpp does not look at the adapter that is asked for."""
_MOST_NAMED = 8
"""Adapters that an error lists."""


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter that is loaded beside the model: `name` is what answers call both together,
    org/base+org/adapter; `names` are all that a request may ask for. `manifest` is the sha256 of
    its manifest, in hex.
    """

    name: str
    names: frozenset[str]
    manifest: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model that is loaded: `name` is what answers call it, `names` are all that a request may
    ask for. `tools` tells whether its chat template has tools, and `embeddings` whether it gives
    them. `adapters` are in the engine's order; `usual` is the one that answers where a request
    names no model, None for the model alone.
    """

    name: str
    names: frozenset[str]
    tools: bool
    embeddings: bool
    adapters: tuple[LoadedAdapter, ...] = ()
    usual: LoadedAdapter | None = None

    @classmethod
    def under(cls, name: str, refs: tuple[str, ...], *, tools: bool, embeddings: bool) -> "Loaded":
        """`name` is the repository's (org/name). Requests may leave the organisation out, and may
        add ``@`` and one of `refs`.
        """
        return cls(name, _names(name, refs), tools, embeddings)

    def with_adapter(
        self, name: str, refs: tuple[str, ...], manifest: str, *, usual: bool = False
    ) -> "Loaded":
        """The same with one more adapter, whose repository is called `name`."""
        whole = frozenset({name, *(f"{name}@{ref}" for ref in refs)})
        both = {f"{base}+{one}" for base in self.names for one in _names(name, refs)}
        taken = self.names.union(*(one.names for one in self.adapters))
        added = LoadedAdapter(f"{self.name}+{name}", (whole | both) - taken, manifest)
        found = (*self.adapters, added)
        return replace(self, adapters=found, usual=added if usual else self.usual)


def _names(name: str, refs: tuple[str, ...]) -> frozenset[str]:
    plain = {name, name.rpartition("/")[2]}
    return frozenset(plain | {f"{one}@{ref}" for one in plain for ref in refs})


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that the engine may get: `body` is for the engine; `forced` are the tools of which
    the answer has to call one; `stream` and `usage` are how the client wants the answer.
    `adapter` is the one that was asked for.
    """

    body: Json
    forced: tuple[Tool, ...] = ()
    stream: bool = False
    usage: bool = False
    adapter: LoadedAdapter | None = None


def understand(kind: str, body: object, loaded: Loaded, *, start: str) -> Ask:
    """Checks the JSON of a request of `kind`. `start` is the command that serves this model, for
    hints. Raises :class:`RequestError` for what the model that is loaded cannot do.
    """
    if not isinstance(body, dict):
        raise RequestError(400, "the request's body is not a JSON object")
    adapter = _asked_adapter(body.get("model"), loaded)
    if adapter is not None and kind in _BASE_ALONE:
        raise RequestError(
            400,
            f"adapters do not answer here ({kind}): the engine would answer without it; ask "
            "/v1/chat/completions, /v1/responses or /v1/completions",
            code="adapter_not_supported",
            param="model",
        )
    if kind == EMBEDDINGS and not loaded.embeddings:
        raise RequestError(
            501,
            "this model was loaded without embeddings, because its file does not say that it was "
            f"made for them: start it with '{start} --embeddings', or run a model for embeddings",
            code="embeddings_not_loaded",
        )
    forced = _forced(kind, body, loaded) if kind in (CHAT, RESPONSES, MESSAGES) else ()
    options = body.get("stream_options")
    named = body | {"model": loaded.name if adapter is None else adapter.name}
    if loaded.adapters:
        # The engine applies no other than this; what the client itself says of it does not count.
        # Each is named, with 0 too: after an empty list llama.cpp goes on with another's cache.
        named["lora"] = [
            {"id": number, "scale": 1.0 if one is adapter else 0.0}
            for number, one in enumerate(loaded.adapters)
        ]
    return Ask(
        named,
        forced,
        stream=body.get("stream") is True,
        usage=isinstance(options, dict) and options.get("include_usage") is True,
        adapter=adapter,
    )


def _asked_adapter(asked: object, loaded: Loaded) -> LoadedAdapter | None:
    """The adapter that a request asks for; None for the model alone."""
    if asked is None or asked == "":
        return loaded.usual
    if not isinstance(asked, str):
        raise RequestError(400, "'model' is not a string", param="model")
    return adapter_called(asked, loaded)


def adapter_called(asked: str, loaded: Loaded) -> LoadedAdapter | None:
    """The adapter of a name; None for the model's own. Raises :class:`RequestError` (404) for a
    name of neither.
    """
    if asked in loaded.names:
        return None
    for adapter in loaded.adapters:
        if asked in adapter.names:
            return adapter
    raise not_loaded(asked, loaded)


def not_loaded(asked: str, loaded: Loaded) -> RequestError:
    """The answer to a request for another model than the one that is loaded."""
    return RequestError(
        404,
        f"the model {one_line(asked, 200)!r} is not loaded; loaded: "
        f"{', '.join([loaded.name, *(one.name for one in loaded.adapters[:_MOST_NAMED])])}",
        code="model_not_found",
        param="model",
    )


def _forced(kind: str, body: Mapping[str, Any], loaded: Loaded) -> tuple[Tool, ...]:
    """The tools of which the answer has to call one; none where the model decides."""
    for old in ("functions", "function_call"):
        if body.get(old):
            raise RequestError(
                400, f"{old!r} is not supported: use 'tools' and 'tool_choice'", param=old
            )
    tools = _tools(kind, body.get("tools"))
    if tools and not loaded.tools:
        raise RequestError(
            400,
            "this model's chat template has no tools: send the request without 'tools', or run a "
            "model whose template has them",
            code="tools_not_supported",
            param="tools",
        )
    wanted = _wanted(kind, body.get("tool_choice"), tools)
    if wanted and kind != CHAT:
        raise RequestError(
            400,
            "here the model itself decides whether it calls a tool: a call is enforced by "
            "/v1/chat/completions alone",
            param="tool_choice",
        )
    rivals = [key for key in ("response_format", "grammar", "json_schema") if body.get(key)]
    if wanted and rivals:
        raise RequestError(
            400, f"{rivals[0]!r} and a 'tool_choice' that enforces a call exclude each other"
        )
    return wanted


def _tools(kind: str, listed: object) -> tuple[Tool, ...]:
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise RequestError(400, "'tools' is not a list", param="tools")
    tools = tuple(_tool(kind, item) for item in listed)
    if len({tool.name for tool in tools}) != len(tools):
        raise RequestError(400, "two tools have the same name", param="tools")
    return tools


def _tool(kind: str, item: object) -> Tool:
    function = item.get("function") if kind == CHAT and isinstance(item, dict) else item
    usual = ("function",) if kind != MESSAGES else ("custom", None)
    if (
        not isinstance(item, dict)
        or not isinstance(function, dict)
        or item.get("type") not in usual
    ):
        raise RequestError(
            400, "a tool has to be a function: this server has no tools of its own", param="tools"
        )
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise RequestError(400, "a tool has no name", param="tools")
    parameters = function.get("input_schema" if kind == MESSAGES else "parameters")
    if parameters is None:
        parameters = {"type": "object"}
    if not isinstance(parameters, dict):
        raise RequestError(400, "the parameters of a tool are not a JSON schema", param="tools")
    return Tool(name, parameters)


def _wanted(kind: str, choice: object, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    word = choice.get("type") if kind == MESSAGES and isinstance(choice, dict) else choice
    if word in (None, "auto", "none"):
        return ()
    if word in ("required", "any"):
        found = tools
    elif isinstance(choice, dict) and choice.get("type") in ("function", "tool"):
        named = choice.get("function")
        name = named.get("name") if isinstance(named, dict) else choice.get("name")
        found = tuple(tool for tool in tools if tool.name == name)
    else:
        raise RequestError(
            400, "'tool_choice' is auto, none, required, or one function", param="tool_choice"
        )
    if not found:
        raise RequestError(
            400, "'tool_choice' asks for a tool that 'tools' does not have", param="tool_choice"
        )
    return found
