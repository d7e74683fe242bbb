"""Lines of `link`, `run` and `serve`: how models are used."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import GitOid
from outlast.core.names import RepoId


@document("link")
class LinkedDocument(Document):
    """Where the files are, for other programs."""

    type: Literal["linked"] = "linked"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    partial: Annotated[bool, "whether files are missing, or may be"]
    cache: Annotated[Path | None, "the Hugging Face cache, for HF_HUB_CACHE"]
    snapshot: Annotated[Path | None, "the revision's folder in the cache"]
    folder: Annotated[Path | None, "the plain folder"]
    escaped: Annotated[
        Mapping[str, Mapping[str, str]],
        "by folder, the files that have another name there, by their own",
    ]
    withheld: Annotated[
        Mapping[str, str], "why files are not there, by path: pickles, or archives of them"
    ]


@document("serve")
class ServingDocument(Document):
    """The server answers. The log of requests is JSON, too, and goes to stderr."""

    type: Literal["serving"] = "serving"
    url: Annotated[str, "for HF_ENDPOINT"]
    archive: Annotated[Path, "the archive's folder"]


@document("run")
class ServingModelDocument(Document):
    """The API of `run --api` answers."""

    type: Literal["serving"] = "serving"
    url: Annotated[str, "the base URL for OpenAI's clients"]
    model: Annotated[str, "the model's name in the API"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePart:
    """What an answer took."""

    prompt_tokens: Annotated[int, "tokens of the prompt"]
    completion_tokens: Annotated[int, "tokens of the answer"]
    seconds: Annotated[float, "from the request to the last token, in seconds"]
    tokens_per_second: Annotated[float, "of generation alone"]
    finish: Annotated[str, "`stop`: the model ended; `length`: a limit was reached"]


@document("run")
class AnswerDocument(Document):
    """An answer of the model."""

    type: Literal["answer"] = "answer"
    text: Annotated[str, "the answer, without the model's thoughts"]
    usage: Annotated[UsagePart | None, "what it took; null if it was interrupted"]
