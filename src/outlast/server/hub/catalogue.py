"""What the archive has, as the documents of the hub's API and as pages."""

from collections.abc import Collection, Iterator
from urllib.parse import quote

from aiohttp import web

from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError, EntryNotFoundError
from outlast.core.names import RepoId, RepoKind
from outlast.mirror.answers import Found
from outlast.mirror.asker import Asker
from outlast.mirror.mirror import Mirror
from outlast.mirror.views import View
from outlast.server.http.log import log_line
from outlast.server.http.queries import ORIGIN, flag, page
from outlast.server.http.replies import WITHHELD_HEADER, error_reply, json_reply
from outlast.server.hub import documents, pages
from outlast.server.hub.routes import PAGES, HubRoute
from outlast.server.tuning import ServerTuning
from outlast.store.records.facts import About


class Catalogue:
    """Its methods read the disk: call them in threads. They change the `query` that they get."""

    def __init__(self, mirror: Mirror, tuning: ServerTuning) -> None:
        self._mirror = mirror
        self._tuning = tuning

    def document(
        self,
        route: HubRoute,
        found: Found,
        query: dict[str, str],
        form: dict[str, list[str]],
        *,
        for_archive: bool = False,
    ) -> web.Response:
        """What a path says of a revision, its files apart: a document, or the page of a folder.
        `form` is the body of a question for ``paths-info``. The lists that clients fetch all files
        of (``info``, and the whole tree) have none that they would not get and do not need; unless
        they are `for_archive`.
        """
        view = found.view
        repo, commit = view.revision.repo, view.revision.id
        about = self._mirror.archive.refs.about(repo)
        headers = {"X-Repo-Commit": commit.hex}
        if route.what == "info":
            without = self._left_out(view, for_archive=for_archive)
            headers |= _withheld(without)
            document = documents.info(found, about, blobs=flag(query, "blobs"), without=without)
            return json_reply(document, headers)
        if route.what == "auth-check":
            return json_reply("OK")
        if route.what == "commits":
            others = [c for c in self._mirror.archive.commits(repo) if c != commit]
            return json_reply(documents.commits([commit, *others], about), headers)
        if route.what == "paths-info":
            expand = (form.get("expand") or [""])[0].lower() in {"true", "1"}
            paths = form.get("paths", [])
            return json_reply(documents.paths_info(view, about, paths, expand=expand), headers)
        typed = route.what in PAGES  # a page shows one level
        flags = {name: flag(query, name) and not typed for name in ("recursive", "expand")}
        without = frozenset[str]()
        if flags["recursive"]:
            without = self._left_out(view, for_archive=for_archive)
            headers |= _withheld(without)
        rows = documents.tree(view, about, route.path, without=without, **flags)
        if rows is None:
            error = EntryNotFoundError(f"no folder {route.path!r}")
            if typed:
                raise error
            return error_reply(error, headers)
        if typed:
            place = pages.Place(query[ORIGIN], repo, route.ref, route.path.strip("/"))
            text = pages.repository(place, found, about, rows)
            return pages.reply(text, headers)
        path = f"/api/{repo.api_path}/tree/{commit}/{quote(route.path)}".rstrip("/")
        base = query.pop(ORIGIN) + path
        return json_reply(*page(rows, query, self._tuning.tree_page, headers, base))

    def _left_out(self, view: View, *, for_archive: bool) -> frozenset[str]:
        if for_archive:
            return frozenset()
        return self._mirror.quarantine.unneeded(view.files.values())

    def repositories(self, route: HubRoute, query: dict[str, str], asker: Asker) -> web.Response:
        """The archived repositories that `asker` may read, by the same filters as on the hub."""
        found = self._visible((route.kind,), query, route.what, asker)
        told = self._mirror.archive.unconfirmed.all()
        rows = [
            documents.listed(repo, commit, about) | documents.listed_by((repo, commit) in told)
            for repo, commit, about in found
        ]
        if query.get("direction") == "-1":
            rows.reverse()
        base = f"{query.pop(ORIGIN)}/api/{route.kind.plural}"
        return json_reply(*page(rows, query, self._tuning.list_page, {}, base))

    def home(self, route: HubRoute, query: dict[str, str], asker: Asker) -> web.Response:
        """The archived repositories as a page, of one kind or of each."""
        kinds = (route.kind,) if route.path else tuple(RepoKind)
        seen = self._visible(kinds, query, route.what, asker)
        return pages.reply(pages.home([(repo, about) for repo, _, about in seen], query[ORIGIN]))

    def _visible(
        self, kinds: Collection[RepoKind], query: dict[str, str], what: str, asker: Asker
    ) -> Iterator[tuple[RepoId, GitOid, About]]:
        """The archived repositories that `asker` may read and that its query asks for, each with
        the commit of its main ref.
        """
        archive = self._mirror.archive
        repos = dict.fromkeys(summary.repo for summary in archive.summaries())
        access = self._mirror.access
        for repo in (repo for repo in repos if repo.kind in kinds):
            if not access.lists(asker, repo):
                continue
            try:
                commits = archive.commits(repo)
                main = archive.refs.get(repo, "main")
                about = archive.refs.about(repo)
            except CorruptError as error:  # one damaged file does not hide the rest
                log_line({"level": "error", "what": what, "error": str(error)})
                continue
            if commits and _wanted(repo, about.tags, query):
                yield repo, main.commit if main is not None else commits[0], about


def _withheld(paths: Collection[str]) -> dict[str, str]:
    """Says that a list has not all files."""
    return {WITHHELD_HEADER: str(len(paths))} if paths else {}


def _wanted(repo: RepoId, tags: tuple[str, ...], query: dict[str, str]) -> bool:
    author = query.get("author")
    return (
        query.get("search", "").lower() in repo.name.lower()
        and (author is None or repo.name.split("/")[0] == author)
        and all(tag in tags for tag in query.get("filter", "").split(",") if tag)
    )
