"""How families of clients speak: OpenAI's chat completions, completions, embeddings and responses,
and Anthropic's messages, each understood as a chat body and answered in its own form; and whether
what a provider streams is sound. Pure: bytes and JSON in, bytes and JSON out.

Public names: `DIALECTS`; `asked.DialectAsked`,
`stream_judge.SseJudge`, `continuing.continued`, `anthropic_target.to_messages` and
`anthropic_target.from_messages`.
"""

from collections.abc import Mapping
from typing import Final

from outlast.features.gateway.dialects.chat import (
    ChatDialect,
    CompletionsDialect,
    EmbeddingsDialect,
)
from outlast.features.gateway.dialects.messages import MessagesDialect
from outlast.features.gateway.dialects.responses import ResponsesDialect

__all__ = ["DIALECTS"]

DIALECTS: Final[Mapping[str, "ChatDialect | MessagesDialect | ResponsesDialect"]] = {
    "/v1/chat/completions": ChatDialect(),
    "/v1/completions": CompletionsDialect(),
    "/v1/embeddings": EmbeddingsDialect(),
    "/v1/messages": MessagesDialect(),
    "/v1/responses": ResponsesDialect(),
}
"""By the path that its clients ask."""
