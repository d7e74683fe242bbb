"""From a request to the reply and the fault that it gets; nothing here touches a socket."""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import quote, urlencode

from tests.hubsim import api, files, git
from tests.hubsim.access import Tokens, Who, gate, open_repo
from tests.hubsim.catalogue import Catalogue, ServedRepo
from tests.hubsim.faults import FaultPlan, RuleJson
from tests.hubsim.log import LogEntry
from tests.hubsim.reply import Memory, Reply, error_reply, redirect_reply
from tests.hubsim.route import Route

Target = ServedRepo | files.Found | Reply | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: `path` is still encoded, `form` holds the fields of a POST."""

    listener: str
    route: Route
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    @property
    def raw_target(self) -> str:
        """The path with its query, as a redirect repeats it."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@dataclass(slots=True)
class Answers:
    """All that a hub knows. `ahead` is how many seconds its clock was advanced."""

    catalogue: Catalogue
    tokens: Tokens
    plan: FaultPlan
    url: str
    cdn_url: str
    secret: bytes
    cdn: bool
    resolve_cache: bool
    page_limit: int
    cdn_ttl: int
    git: bool = False
    ahead: float = 0.0
    under_way: Counter[str] = field(default_factory=Counter)
    """Requests for files that are not at their end, by path, and all of them by the empty path."""

    def answer(self, asked: Asked, entry: LogEntry) -> tuple[Reply, RuleJson]:
        """The reply, and the rule of the fault to apply while it is sent; notes both in `entry`."""
        who = self.tokens.who(asked.headers) if asked.listener == "hub" else "anonymous"
        target = who if isinstance(who, Reply) else self._target(asked, who)
        if isinstance(target, files.Found):
            entry.file, entry.commit = target.path, target.commit
        picked = self.plan.pick(entry)
        rule: RuleJson = picked.given if picked else {}
        entry.fault = picked.action if picked else None
        reply = self._replacement(asked, rule)
        if reply is None:
            reply = target if isinstance(target, Reply) else self._reply(asked, target, rule)
        reply = _if_changed(asked, reply) if not rule else reply
        if rule.get("action") == "headers":
            dropped = [name.lower() for name in rule.get("drop", [])]
            kept = {k: v for k, v in reply.headers.items() if k.lower() not in dropped}
            reply.headers = kept | rule.get("set", {})
        reply.headers.setdefault("X-Request-Id", f"Root=1-{entry.index:08x}")
        return reply, rule

    def _target(self, asked: Asked, who: Who) -> Target:
        """The repo or the file that is asked for, or the refusal."""
        route = asked.route
        if route.what == "cdn":
            repo = self.catalogue.find(route.kind, route.repo_id)
            return files.locate_stored(repo, route)
        if not route.repo_id:
            return None
        found = open_repo(self.catalogue, route, asked.raw_target, who)
        if isinstance(found, ServedRepo) and route.what == "git":
            return gate(found, who) or found
        if isinstance(found, ServedRepo) and route.what == "resolve":
            return gate(found, who) or files.locate(found, route)
        return found

    def _reply(
        self, asked: Asked, target: ServedRepo | files.Found | None, rule: RuleJson
    ) -> Reply:
        what = asked.route.what
        signer = self._signer()
        if what == "cdn":
            found = target if isinstance(target, files.Found) else None
            valid = signer.valid(asked.path, asked.query)
            return files.from_cdn(found, asked.headers, rule, valid=valid)
        if isinstance(target, files.Found):
            cache = self._cache_path(target) if not asked.route.from_cache else None
            return files.resolve(target, asked.headers, signer, rule, cdn=self.cdn, cache=cache)
        if what == "git" and self.git and isinstance(target, ServedRepo):
            return git.upload_pack(target, asked.route.tail[0], asked.headers, asked.body)
        who = self.tokens.who(asked.headers)
        assert not isinstance(who, Reply)
        call = api.Call(
            asked.route, self.url, asked.path, asked.query, who, self.page_limit, asked.form, rule
        )
        if what == "whoami":
            return api.whoami(who)
        if what == "list":
            return api.with_fault(api.list_repos(self.catalogue, call), call)
        if what == "collection":
            return api.collection(self.catalogue, asked.route.tail[0])
        if target is None or what == "git":
            return error_reply(404, "Sorry, we can't find the page you are looking for.")
        return api.with_fault(api.repo_call(target, call), call)

    def _replacement(self, asked: Asked, rule: RuleJson) -> Reply | None:
        """The reply of a fault that does not care what was asked for."""
        match rule.get("action"):
            case "limit":
                over = "" if rule.get("over") == "all" else asked.path
                if self.under_way[over] > rule.get("most", 1):
                    return _refusal(rule, self._now())
            case "status":
                return _refusal(rule, self._now())
            case "redirect":
                return redirect_reply(rule.get("status", 302), rule["to"])
            case "page":
                body = rule.get("body", "<!doctype html><title>Log in</title>")
                kind = rule.get("type", "text/html; charset=utf-8")
                return Reply(200, {"Content-Type": kind}, Memory(body.encode()))
            case "redirect_loop":
                return redirect_reply(302, asked.path)
        return None

    def _cache_path(self, found: files.Found) -> str | None:
        if not self.resolve_cache:
            return None
        repo = f"{found.repo.kind}s/{found.repo.repo_id}"
        etag = quote(f'"{found.file.etag}"')
        return f"/api/resolve-cache/{repo}/{found.commit}/{quote(found.path)}?etag={etag}"

    def _signer(self) -> files.Signer:
        return files.Signer(self.cdn_url, self.secret, self.cdn_ttl, self._now)

    def _now(self) -> float:
        return time.time() + self.ahead


def _if_changed(asked: Asked, reply: Reply) -> Reply:
    """304 to a client that has the answer already: those of the API have an ETag."""
    if asked.route.what not in {"info", "refs", "list", "collection"} or reply.status != 200:
        return reply
    etag = f'W/"{hashlib.sha256(reply.body.read(0, reply.body.size)).hexdigest()[:16]}"'
    if asked.headers.get("If-None-Match") == etag:
        return Reply(304, {"ETag": etag})
    reply.headers = {**reply.headers, "ETag": etag}
    return reply


def _refusal(rule: RuleJson, now: float) -> Reply:
    """An error status, with the headers that tell when to come back."""
    status = rule.get("status", 503)
    headers: dict[str, str] = {}
    wait = rule.get("retry_after")
    if wait is not None:
        as_date = rule.get("retry_after_form") == "date"
        headers["Retry-After"] = formatdate(now + wait, usegmt=True) if as_date else str(wait)
    if rule.get("ratelimit"):
        headers["RateLimit"] = f'"api";r=0;t={wait or 0}'
        headers["RateLimit-Policy"] = '"fixed window";"api";q=500;w=300'
    message = rule.get("message", "Too Many Requests" if status == 429 else "Service Unavailable")
    return error_reply(status, message, rule.get("code"), headers)
