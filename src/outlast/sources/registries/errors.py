"""What a registry's refusal means: its own codes, in the words of the table of statuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from urllib3 import HTTPHeaderDict

from outlast.core.addresses import host_of
from outlast.core.errors import OutlastError
from outlast.core.manifest import load_json
from outlast.sources.http import Response
from outlast.sources.settings import origin
from outlast.sources.statuses import Answer, meaning, page_in_place
from outlast.sources.tuning import Tuning

_CODES: Final[Mapping[str, str]] = {
    "MANIFEST_UNKNOWN": "RevisionNotFound",
    "NAME_UNKNOWN": "RepoNotFound",
    "NAME_INVALID": "RepoNotFound",
    "BLOB_UNKNOWN": "EntryNotFound",
}
"""What a hub calls what a registry says (OCI distribution specification 1.1, error codes)."""


@dataclass(frozen=True, slots=True)
class RegistryQuestion:
    """What a source, whose registry is at `url`, is asked for: `ref` or the file `path` of `repo`,
    which the registry calls `at`; whether it has a token; and how long each wait may be, in
    seconds.
    """

    source: str
    url: str
    repo: str
    at: str
    ref: str = ""
    path: str = ""
    token: bool = False
    timeout: float | None = None


def refuse(response: Response, question: RegistryQuestion, tuning: Tuning) -> None:
    """Raises what an answer that is no success stands for."""
    if response.status in {200, 206}:
        return
    headers = HTTPHeaderDict(response.headers)
    if not _is_elsewhere(response, question):
        headers.update(_said(response, tuning))
    raise meaning(_answer(response, question, headers))


def read_document(
    response: Response, question: RegistryQuestion, limit: int, tuning: Tuning
) -> bytes:
    """The body of a success, of at most `limit` bytes. A page in its place is the network's."""
    refuse(response, question, tuning)
    data = response.read_all(limit, tuning.answer_s)
    if data.lstrip()[:1] == b"<":
        raise page_in_place(_answer(response, question, response.headers))
    return data


def page(response: Response, question: RegistryQuestion) -> OutlastError:
    """The error of a page in place of a file."""
    return page_in_place(_answer(response, question, response.headers))


def _is_elsewhere(response: Response, question: RegistryQuestion) -> bool:
    return origin(response.url) != origin(question.url)


def _answer(response: Response, question: RegistryQuestion, headers: Mapping[str, str]) -> Answer:
    return Answer(
        status=response.status,
        headers=headers,
        source=question.source,
        host=host_of(response.url),
        repo=question.repo,
        ref=question.ref,
        path=question.path,
        token=question.token,
        elsewhere=_is_elsewhere(response, question),
    )


def _said(response: Response, tuning: Tuning) -> dict[str, str]:
    """The code and message of the body, as the headers in which a hub would say them."""
    try:
        document: Any = load_json(
            response.read_all(tuning.node_description, tuning.answer_s), tuning.node_description
        )
        first = document["errors"][0]
        code, message = first.get("code"), first.get("message")
    except (OutlastError, AttributeError, LookupError, TypeError):
        return {}
    said = {}
    if isinstance(code, str) and code in _CODES:
        said["X-Error-Code"] = _CODES[code]
    if isinstance(message, str):
        said["X-Error-Message"] = message
    return said
