"""Files: the hub's resolve requests, and the CDN that it redirects to."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tests.hubsim.catalogue import ServedRepo
from tests.hubsim.faults import RuleJson
from tests.hubsim.ranges import file_reply
from tests.hubsim.reply import Content, Memory, Reply, error_reply, redirect_reply
from tests.hubsim.repo import StoredFile
from tests.hubsim.route import Route

_DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Request has expired</Message></Error>"
)
_TEXT = (".json", ".jsonl", ".md", ".txt", ".py", ".jinja", ".yaml", ".yml", ".csv")


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes and checks the CDN's URLs. `now` gives seconds since the epoch."""

    base_url: str
    secret: bytes
    ttl: int
    now: Callable[[], float]

    def url(self, repo: ServedRepo, commit: str, path: str, sha256: str, ttl: int) -> str:
        target = f"/repos/{repo.kind}s/{repo.repo_id}/{commit}/{sha256}"
        expires = str(int(self.now()) + ttl)
        name = quote(path.rsplit("/", 1)[-1], safe="")
        query = {
            "response-content-disposition": f"inline; filename*=UTF-8''{name}",
            "Expires": expires,
            "Signature": self._sign(target, expires),
            "Key-Pair-Id": "SIM",
        }
        return f"{self.base_url}{target}?{urlencode(query)}"

    def valid(self, path: str, query: Mapping[str, str]) -> bool:
        expires = query.get("Expires", "")
        signed = hmac.compare_digest(query.get("Signature", ""), self._sign(path, expires))
        return signed and int(expires) > self.now()

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self.secret, f"{path} {expires}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a request means."""

    repo: ServedRepo
    commit: str
    path: str
    file: StoredFile


def locate(repo: ServedRepo, route: Route) -> Found | Reply:
    """The file of a resolve request, or a 404 that says what is missing."""
    revision, path = route.revision_and_path(repo.known_refs)
    commit = repo.revision(revision)
    if commit is None:
        return error_reply(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    file = commit.files.get(path)
    if file is None:
        headers = {"X-Repo-Commit": commit.sha}
        return error_reply(404, "Entry not found", "EntryNotFound", headers)
    return Found(repo, commit.sha, path, file)


def locate_stored(repo: ServedRepo | None, route: Route) -> Found | None:
    """The file of a CDN request."""
    if repo is None or len(route.tail) != 2:
        return None
    commit = repo.commit(route.tail[0])
    for path, file in commit.files.items() if commit else ():
        if file.sha256 == route.tail[1]:
            return Found(repo, route.tail[0], path, file)
    return None


def resolve(
    found: Found,
    headers: Mapping[str, str],
    signer: Signer,
    rule: RuleJson,
    *,
    cdn: bool,
    cache: str | None,
) -> Reply:
    """What the hub answers: the file itself, a 302 to the CDN, or a 307 to its own `cache` path."""
    file = found.file
    linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.etag}"'}
    base = {"X-Repo-Commit": found.commit, "Accept-Ranges": "bytes"}
    cdn = cdn or rule.get("action") == "redirect_cdn"
    if cdn and file.sha256 is not None:
        ttl = rule.get("expires_in", signer.ttl)
        target = signer.url(found.repo, found.commit, found.path, file.sha256, ttl)
        return redirect_reply(302, target, base | linked | {"Vary": "Origin, Accept"})
    if cache is not None and file.sha256 is None:
        return redirect_reply(307, cache, base | linked)
    if file.sha256 is not None:
        base |= linked
    return _bytes(found, file.etag, headers, base, rule)


def from_cdn(
    found: Found | None, headers: Mapping[str, str], rule: RuleJson, *, valid: bool
) -> Reply:
    """What the CDN answers. Its ETag is its own, as on the real one."""
    if not valid or found is None:
        return Reply(403, {"Content-Type": "application/xml"}, Memory(_DENIED))
    etag = hashlib.sha256(f"cdn {found.file.etag}".encode()).hexdigest()[:32]
    return _bytes(found, etag, headers, {}, rule)


def _bytes(
    found: Found, etag: str, headers: Mapping[str, str], extra: Mapping[str, str], rule: RuleJson
) -> Reply:
    action = rule.get("action")
    name = quote(found.path.rsplit("/", 1)[-1], safe="")
    kind = "text/plain; charset=utf-8" if found.path.endswith(_TEXT) else "application/octet-stream"
    base = {
        "Content-Type": kind,
        "Content-Disposition": f"inline; filename*=UTF-8''{name}; filename=\"{name}\";",
    }
    return file_reply(
        _content(found.file, etag, rule),
        headers,
        base | dict(extra),
        ignore_range=action == "ignore_range",
        shift=rule.get("shift", 1) if action == "content_range" else 0,
    )


def _content(file: StoredFile, etag: str, rule: RuleJson) -> Content:
    """The file, altered as the fault says."""
    match rule.get("action"):
        case "flip":
            at = rule.get("at", file.size // 2)
            flips = range(at, max(at + 1, file.size), rule.get("every", max(1, file.size)))
            return Content(file, etag, file.size, flips=flips, mask=rule.get("mask", 1))
        case "changed":
            other = hashlib.sha256(etag.encode()).hexdigest()[: len(etag)]
            shown = other if rule.get("etag", "same") == "other" else etag
            return Content(file, shown, file.size + rule.get("size_delta", 0), xor=0x55)
        case "length":
            return Content(file, etag, max(0, file.size + rule.get("delta", 0)))
    return Content(file, etag, file.size)
