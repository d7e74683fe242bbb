"""What a read-only hub says to requests that would change it, in one sentence for people."""

from collections.abc import Collection
from typing import Final

from aiohttp import web

from outlast.server.http.replies import failure, json_reply
from outlast.server.hub.routes import WRITING

READ_ONLY: Final = (
    "this archive is read-only: 'outlast add' and 'outlast pull' on its machine change it, and "
    "pushes go to the hub itself (unset HF_ENDPOINT)"
)
NO_GIT: Final = (
    "this archive is read-only and speaks no git: get models with 'hf download' or 'outlast pull', "
    "and push to the hub itself"
)
_CODE: Final = "ReadOnly"


def not_for(method: str, allowed: Collection[str]) -> web.Response:
    """The answer to a method that is not `allowed`."""
    return _refused("", f"not for {method}", allowed)


def wrong_method(method: str, allowed: Collection[str]) -> web.Response:
    """The same at the hub's API, where nothing is `allowed` that changes it. Clients print what
    X-Error-Message says; with 403 they would add that the token lacks a permission, which is not
    the reason.
    """
    if allowed and method not in WRITING:
        return not_for(method, allowed)
    return _refused(_CODE, READ_ONLY, allowed)


def _refused(code: str, message: str, allowed: Collection[str]) -> web.Response:
    return failure(405, code, message, {"Allow": ", ".join(sorted(allowed))})


def no_git(method: str) -> web.Response:
    """The answer to git and git-lfs. Git prints it only if it is plain text, git-lfs only if it is
    the ``message`` of a JSON object.
    """
    sent = {"X-Error-Message": NO_GIT, "X-Error-Code": _CODE}
    if method in WRITING:
        response = json_reply({"error": NO_GIT, "message": NO_GIT}, sent)
        response.set_status(403)
        return response
    return web.Response(status=403, text=f"{NO_GIT}\n", headers=sent)
