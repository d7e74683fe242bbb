"""The hub's JSON API."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.hubsim import listing
from tests.hubsim.access import Who, gate
from tests.hubsim.catalogue import Catalogue, ServedRepo
from tests.hubsim.faults import RuleJson
from tests.hubsim.reply import Filler, Memory, Reply, error_reply, json_reply
from tests.hubsim.repo import Commit
from tests.hubsim.route import Route

_EXPANDED_LIMIT = 50
_ORDERS: dict[str, Callable[[ServedRepo], Any]] = {
    "lastModified": lambda repo: len(repo.state.commits),
    "id": lambda repo: repo.repo_id,
}
_BROKEN: dict[str, bytes] = {
    "truncated": b'{"id": "org/name", "sha": "0123',
    "garbage": b"\x00\xff\xfe not json }{",
    "html": b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
    "empty": b"",
    "wrong_type": b'"a string"',
    "bad_utf8": b'{"id": "\xff\xfe"}',
}


@dataclass(slots=True)
class Call:
    """An API request; `form` holds the fields of a POST."""

    route: Route
    base_url: str
    path: str
    query: Mapping[str, str]
    who: Who
    page_limit: int
    form: Mapping[str, list[str]] = field(default_factory=dict)
    fault: RuleJson = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        value = self.query.get(name, "")
        return int(value) if value.isdigit() else default

    def next_link(self, **changes: str) -> dict[str, str]:
        """A Link header to this request with a changed query."""
        url = f"{self.base_url}{self.path}?{urlencode(dict(self.query) | changes)}"
        return {"Link": f'<{url}>; rel="next"'}


def whoami(who: Who) -> Reply:
    """GET /api/whoami-v2."""
    if who == "anonymous":
        return error_reply(401, "Invalid username or password.")
    token = {"displayName": "sim", "role": "read"}
    doc = {"type": "user", "id": "1", "name": who, "fullname": who, "orgs": [], "isPro": False}
    return json_reply(doc | {"auth": {"type": "access_token", "accessToken": token}})


def list_repos(catalogue: Catalogue, call: Call) -> Reply:
    """GET /api/models?search&author&filter&sort&direction&limit&full&cursor."""
    query = call.query
    repos = [
        repo
        for repo in catalogue.all(call.route.kind)
        if (call.who == "owner" or not repo.state.private)
        and query.get("search", "").lower() in repo.repo_id.lower()
        and query.get("author", repo.repo_id.split("/")[0]) == repo.repo_id.split("/")[0]
        and all(tag in repo.state.tags for tag in query.get("filter", "").split(",") if tag)
        and repo.state.refusal is None
    ]
    if order := _ORDERS.get(query.get("sort", "")):
        repos.sort(key=order, reverse=query.get("direction") == "-1")
    start = call.number("cursor", 0)
    limit = call.number("limit", call.page_limit)
    headers = {}
    if start + limit < len(repos):
        headers = call.next_link(cursor=str(start + limit))
    docs = [
        listing.expand(
            listing.info_doc(repo, repo.revision("main"), files=call.flag("full"), blobs=False),
            query.get("expand", ""),
        )
        for repo in repos[start : start + limit]
    ]
    return json_reply(docs, headers)


def collection(catalogue: Catalogue, slug: str) -> Reply:
    """GET /api/collections/{slug}."""
    items = catalogue.collection(slug)
    if items is None:
        return error_reply(404, "Collection not found")
    return json_reply(listing.collection_doc(slug, items))


def repo_call(repo: ServedRepo, call: Call) -> Reply:
    """Everything under /api/models/{id} and /api/datasets/{id}."""
    what = call.route.what
    if what == "auth-check":
        return gate(repo, call.who) or json_reply("OK")
    if what == "refs":
        return json_reply(listing.refs_doc(repo, pull_requests=call.flag("include_prs")))
    revision, path = call.route.revision_and_path(repo.known_refs)
    commit = repo.revision(revision)
    if commit is None and not (what == "info" and not call.route.tail):
        return error_reply(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    if commit is None or what == "info":
        return _info(repo, commit, call)
    if what == "tree":
        return _tree(repo, commit, path, call)
    return (_commits if what == "commits" else _paths_info)(repo, commit, call)


def _info(repo: ServedRepo, commit: Commit | None, call: Call) -> Reply:
    doc = listing.info_doc(repo, commit, files=True, blobs=call.flag("blobs"))
    if "siblings" in doc:
        doc["siblings"] = _faulted(doc["siblings"], call.fault)
    return json_reply(listing.expand(doc, call.query.get("expand", "")))


def _tree(repo: ServedRepo, commit: Commit, folder: str, call: Call) -> Reply:
    if folder and folder not in commit.folders:
        text = f"{folder} does not exist on {commit.sha}"
        return error_reply(404, text, "EntryNotFound", {"X-Repo-Commit": commit.sha})
    rows = listing.below(listing.tree_rows(commit), folder, recursive=call.flag("recursive"))
    start = _position(call.query.get("cursor"))
    most = min(_EXPANDED_LIMIT, call.page_limit) if call.flag("expand") else call.page_limit
    limit = min(call.number("limit", most), most)
    page = rows[start : start + limit]
    headers = {"X-Repo-Commit": commit.sha}
    if start + limit < len(rows):
        headers |= call.next_link(limit=str(limit), cursor=_cursor(start + limit))
    if call.flag("expand"):
        page = [listing.expanded(repo, commit, row) for row in page]
    return json_reply(_faulted(page, call.fault), headers)


def _paths_info(repo: ServedRepo, commit: Commit, call: Call) -> Reply:
    rows = {row["path"]: row for row in listing.tree_rows(commit)}
    wanted = call.form.get("paths", [])
    found = [rows[path.rstrip("/")] for path in wanted if path.rstrip("/") in rows]
    if call.form.get("expand", [""])[0].lower() in ("true", "1"):
        found = [listing.expanded(repo, commit, row) for row in found]
    return json_reply(_faulted(found, call.fault), {"X-Repo-Commit": commit.sha})


def _commits(repo: ServedRepo, commit: Commit, call: Call) -> Reply:
    history = [commit]
    while history[-1].parent and (parent := repo.commit(history[-1].parent)):
        history.append(parent)
    page = call.number("p", 0)
    limit = call.number("limit", 50)
    headers = {"X-Total-Count": str(len(history))}
    if (page + 1) * limit < len(history):
        headers |= call.next_link(p=str(page + 1))
    rows = history[page * limit : (page + 1) * limit]
    return json_reply([listing.commit_row(one) for one in rows], headers)


def with_fault(reply: Reply, call: Call) -> Reply:
    """The reply with its body or its Link replaced, where the fault says so."""
    rule = call.fault
    action = rule.get("action")
    if action == "malformed_json":
        reply.body = Memory(_BROKEN[rule.get("kind", "truncated")])
    elif action == "huge_json" and "depth" in rule:
        reply.body = Memory(b"[" * rule["depth"] + b"]" * rule["depth"])
    elif action == "huge_json":
        reply.body = Filler(b'[{"path": "', b'"}]', rule.get("bytes", 1 << 30))
    elif action == "link":
        to = rule.get("to", "loop")
        reply.headers |= call.next_link() if to == "loop" else {"Link": f'<{to}>; rel="next"'}
    return reply


def _faulted(rows: list[dict[str, Any]], rule: RuleJson) -> list[dict[str, Any]]:
    if rule.get("action") == "size":
        listing.lie_about_size(rows, rule)
    if rule.get("action") == "inject":
        return [*rows, *rule.get("entries", [])]
    if rule.get("action") == "keep":
        return rows[: rule.get("rows", 0)]
    return rows


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(f'{{"at":{position}}}'.encode()).decode()


def _position(cursor: str | None) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor)[6:-1])
    except (ValueError, binascii.Error):
        return 0
