"""Who asks, and what the hub says to those who may not."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.hubsim.catalogue import Catalogue, ServedRepo
from tests.hubsim.reply import Reply, error_reply, redirect_reply
from tests.hubsim.route import Route

Who = Literal["anonymous", "limited", "owner"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that the hub knows. Knowing none, it takes any for a valid one without rights."""

    owner: str | None = None
    limited: str | None = None

    def who(self, headers: Mapping[str, str]) -> Who | Reply:
        """Who asks, or the 401 for a token that is not known."""
        given = headers.get("Authorization")
        if given is None:
            return "anonymous"
        token = given.removeprefix("Bearer ")
        if given.startswith("Basic "):  # as git sends it: the name does not matter
            token = base64.b64decode(given[6:]).decode().partition(":")[2]
        if self.owner is not None and token == self.owner:
            return "owner"
        if token == self.limited or (self.owner is None and self.limited is None):
            return "limited"
        return error_reply(401, "Invalid credentials in Authorization header")


def open_repo(catalogue: Catalogue, route: Route, raw_path: str, who: Who) -> ServedRepo | Reply:
    """The repo, or what the hub answers in its place.

    To who has no token the hub does not tell a missing repo from a private one: 401, no error code.
    """
    repo = catalogue.find(route.kind, route.repo_id)
    refusal = repo.state.refusal if repo is not None else None
    if refusal is not None and refusal["to"] in {"everybody", who}:
        return error_reply(refusal["status"], refusal["message"])
    if repo is not None and not (repo.state.private and who != "owner"):
        return repo
    renamed = catalogue.alias(route.kind, route.repo_id)
    if repo is None and renamed is not None:
        return redirect_reply(307, raw_path.replace(route.repo_id, renamed, 1))
    if who == "anonymous":
        return error_reply(401, "Invalid username or password.")
    return error_reply(404, "Repository not found", "RepoNotFound")


def gate(repo: ServedRepo, who: Who) -> Reply | None:
    """The refusal of a gated repo's files, if they are refused."""
    if not repo.state.gated or who == "owner":
        return None
    what = f"Access to {repo.kind} {repo.repo_id} is restricted"
    if who == "anonymous":
        text = (
            f"{what}. You must have access to it and be authenticated to access it. Please log in."
        )
        return error_reply(401, text, "GatedRepo")
    text = f"{what} and you are not in the authorized list. Ask for access on its page."
    return error_reply(403, text, "GatedRepo")
