"""The coding tools that `outlast launch` starts, and how each is told where its model is: by its
environment and arguments alone. None of the user's own settings files is read or written.

`source` is the page that says so; all were read in November 2026.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

KEY_VARIABLE: Final = "OUTLAST_API_KEY"
"""Where tools find the key that read it from a variable of the caller's choice."""
_NAME: Final = "outlast"


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """Where a model answers: `root` is the URL without ``/v1``, `model` its name there."""

    root: str
    key: str
    model: str

    @property
    def base(self) -> str:
        """The base URL for OpenAI's clients."""
        return f"{self.root}/v1"


@dataclass(frozen=True, slots=True)
class CodingTool:
    """A tool: the program, the API that it speaks, what it is given, and variables that would lead
    it elsewhere.
    """

    program: str
    speaks: str
    source: str
    environment: Callable[[ModelEndpoint], Mapping[str, str]]
    arguments: Callable[[ModelEndpoint], tuple[str, ...]] = lambda _: ()
    unset: tuple[str, ...] = ()


def _claude(at: ModelEndpoint) -> Mapping[str, str]:
    # It picks its models by these names; an older version asks the last one for small tasks.
    models = (
        "ANTHROPIC_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "ANTHROPIC_SMALL_FAST_MODEL",
    )
    return {
        "ANTHROPIC_BASE_URL": at.root,  # it appends /v1/messages itself
        "ANTHROPIC_AUTH_TOKEN": at.key,
        **dict.fromkeys(models, at.model),
    }


def _codex_arguments(at: ModelEndpoint) -> tuple[str, ...]:
    provider = f"model_providers.{_NAME}"
    settings = {
        "model": at.model,
        "model_provider": _NAME,
        f"{provider}.name": _NAME,
        f"{provider}.base_url": at.base,
        f"{provider}.env_key": KEY_VARIABLE,
        f"{provider}.wire_api": "responses",
    }
    # Values are TOML; a JSON text is one.
    values = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    return tuple(part for value in values for part in ("-c", value))


def _opencode(at: ModelEndpoint) -> Mapping[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": _NAME,
        "options": {"baseURL": at.base, "apiKey": f"{{env:{KEY_VARIABLE}}}"},
        "models": {at.model: {"name": at.model}},
    }
    config = {
        "provider": {_NAME: provider},
        "model": f"{_NAME}/{at.model}",
        "small_model": f"{_NAME}/{at.model}",
    }
    return {KEY_VARIABLE: at.key, "OPENCODE_CONFIG_CONTENT": json.dumps(config)}


def _aider(at: ModelEndpoint) -> Mapping[str, str]:
    return {"OPENAI_API_BASE": at.base, "OPENAI_API_KEY": at.key}


def _qwen(at: ModelEndpoint) -> Mapping[str, str]:
    return {"OPENAI_BASE_URL": at.base, "OPENAI_API_KEY": at.key, "OPENAI_MODEL": at.model}


def _goose(at: ModelEndpoint) -> Mapping[str, str]:
    return {
        "GOOSE_PROVIDER": "openai",
        "GOOSE_MODEL": at.model,
        "OPENAI_HOST": at.root,
        "OPENAI_BASE_PATH": "v1/chat/completions",
        "OPENAI_API_KEY": at.key,
    }


TOOLS: Final[Mapping[str, CodingTool]] = {
    "aider": CodingTool(
        "aider",
        "OpenAI chat",
        "https://aider.chat/docs/llms/openai-compat.html",
        _aider,
        lambda at: ("--model", f"openai/{at.model}"),
    ),
    "claude": CodingTool(
        "claude",
        "Anthropic messages",
        "https://code.claude.com/docs/en/env-vars",
        _claude,
        # A key would be used in place of the token; the others lead past the base URL.
        unset=(
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_USE_FOUNDRY",
            "CLAUDE_CODE_USE_VERTEX",
        ),
    ),
    "codex": CodingTool(
        "codex",
        "OpenAI responses",
        "https://developers.openai.com/codex/config-advanced",
        lambda at: {KEY_VARIABLE: at.key},
        _codex_arguments,
    ),
    "goose": CodingTool(
        "goose",
        "OpenAI chat",
        "https://goose-docs.ai/docs/guides/environment-variables",
        _goose,
    ),
    "opencode": CodingTool(
        "opencode",
        "OpenAI chat",
        "https://opencode.ai/docs/config",
        _opencode,
    ),
    "qwen": CodingTool(
        "qwen",
        "OpenAI chat",
        "https://qwenlm.github.io/qwen-code-docs/en/cli/openai-auth",
        _qwen,
    ),
}
