"""``outlast search``."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import click

from outlast.cli.documents.network import HolderPart, ModelDocument, UnansweredDocument
from outlast.cli.documents.parts import claim_parts
from outlast.cli.edge import Session, common, host_and_port, session
from outlast.cli.feature import finders
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.claims import Claims
from outlast.core.digest import Digest
from outlast.core.errors import UsageError, one_line
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.ops import search as ops
from outlast.ops.claims import claims_of
from outlast.sources.http import HttpClient
from outlast.sources.peer import peer_client
from outlast.store.index import load_manifest
from outlast.store.layout import Layout
from outlast.swarm.settings import HostPort, SwarmSettings

if TYPE_CHECKING:
    from outlast.core.digest import GitOid
    from outlast.core.names import RepoId
    from outlast.core.offer import Offer

Listings: TypeAlias = "list[tuple[str, Offer]]"
_PEER = "peer:"
_NAMED = 3
"""Most nodes that a row of the table names."""


@click.command(
    epilog="""\b
Examples:
  outlast search qwen
  outlast search org/ --from peer:10.0.0.7:8091 --json
  outlast search --base org/base

\b
Exit status:
  0 done, also where no model was found · 2 usage · 3 not archived · 130 interrupted
"""
)
@click.argument("query", default="")
@click.option(
    "--from",
    "words",
    multiple=True,
    metavar="SOURCE",
    help="lan or peer:HOST:PORT (repeatable)  [default: this LAN and the configured peers]",
)
@click.option(
    "--base",
    metavar="DIGEST",
    help="Only what was made from this: the sha256 of a manifest, or a model that is archived here",
)
@common
def search(
    query: str,
    words: tuple[str, ...],
    *,
    base: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find models with QUERY in their names on other nodes, and in the catalogues that are followed
    here. No hub is asked.

    The command discovers the nodes on this LAN. In private mode, or with the swarm turned off, it
    asks only the peers of the configuration or of --from. Answers are not verified; a pull verifies
    every file.

    With --base, those models are found that say that they were made from one: adapters, merged
    models and conversions. Catalogues do not tell that, and are not asked. Of a base that is
    private or gated here, nodes on the LAN are not told: the peers that you named are asked.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        peers, lan = _where(words, run.config.swarm)
        wanted, is_open = (None, True) if base is None else _manifest(run, base)
        if lan and not is_open:
            run.say(f"{base} may be private or gated: nodes on the LAN are not asked")
            lan = False
        found = ops.search(
            query,
            peers,
            peer_client(run.config.http()),
            run.control.cancel,
            base=wanted,
            discover=partial(ops.on_lan, problem=run.say) if lan else None,
        )
        http = HttpClient(run.config.http())
        listed: Listings = []
        for finder in () if words or wanted else finders(run.features):
            listed += finder.offers(run.config.home, http, query)
        _print(run, found, listed)


def _manifest(run: Session, base: str) -> tuple[Digest, bool]:
    """The manifest that `base` names, and whether strangers may hear that it is known here."""
    if not Digest.is_valid(base):
        target = Target.parse(base)
        with run.archive() as archive:
            revision = archive.revision(target.repo, target.ref)
            return revision.digest, archive.refs.may_tell(revision.repo)
    digest = Digest(base)
    if not Layout(run.config.home).manifest(digest).exists():
        return digest, True
    with run.archive() as archive:
        repo = load_manifest(archive.layout, digest).repo
        return digest, archive.refs.may_tell(repo)


def _where(words: Sequence[str], settings: SwarmSettings) -> tuple[list[HostPort], bool]:
    """The peers to ask, and whether to discover nodes on the LAN."""
    allowed = settings.enabled and not settings.private
    if not words:
        return list(settings.peers), allowed
    peers: list[HostPort] = []
    for word in words:
        if word.startswith(_PEER):
            peers.append(host_and_port(word.removeprefix(_PEER), SwarmSettings().peer_port))
        elif word != "lan":
            raise UsageError(f"not a node: {word!r}", hint="write lan or peer:HOST:PORT")
        elif not allowed:
            raise UsageError("the configuration turns off looking for nodes on the LAN")
    return peers, "lan" in words


def _print(run: Session, found: ops.Searched, listed: Listings) -> None:
    hits = _with_listed(found.hits, listed)
    if run.as_json:
        claims = _claims(run, found.hits)
        for hit, places in hits:
            print_document(_document(hit, claims.get(hit.model.manifest), places))
        for name, reason in found.failures.items():
            print_document(UnansweredDocument(node=name, reason=reason))
        return
    if hits:
        head = ("MODEL", "REVISION", "REFS", "FILES", "SIZE", "NODES", "HELD BY")
        rows = [(*_row(hit)[:-1], _places(hit, places)) for hit, places in hits]
        print_table([head, *rows], right=(3, 4, 5))
    for name, reason in found.failures.items():
        run.say(one_line(f"  {name} gave no answer: {reason}"))
    said = f"{plural(len(found.hits), 'revision')} on {plural(found.nodes, 'node')}"
    run.say(said if found.nodes else "no node answered")
    if listed:
        run.say(f"{plural(len(listed), 'revision')} in catalogues that are followed")


def _with_listed(
    hits: Sequence[ops.Hit], listed: Listings
) -> list[tuple[ops.Hit, tuple[str, ...]]]:
    """The hits, each with the places that list its manifest; and what is listed and no node has."""
    places: dict[tuple[RepoId, GitOid, Digest], list[str]] = {}
    alone: dict[tuple[RepoId, GitOid, Digest], ops.Hit] = {}
    for name, offer in listed:
        key = (offer.repo, offer.commit, offer.manifest)
        places.setdefault(key, []).append(name)
        alone.setdefault(key, ops.Hit(offer, ()))
    for hit in hits:
        alone.pop((hit.model.repo, hit.model.commit, hit.model.manifest), None)
    return [
        (hit, tuple(places.get((hit.model.repo, hit.model.commit, hit.model.manifest), ())))
        for hit in (*hits, *alone.values())
    ]


def _places(hit: ops.Hit, places: Sequence[str]) -> str:
    return ", ".join([text for text in (_row(hit)[-1],) if text] + [f"listed: {p}" for p in places])


def _claims(run: Session, hits: Sequence[ops.Hit]) -> Mapping[Digest, Claims]:
    """The claims of those that this archive holds, too."""
    if not hits or not Layout(run.config.home).marker.exists():
        return {}
    with run.archive() as archive:
        assessor = run.assessor(archive)
        if assessor is None:
            return {}
        here = [
            h.model.manifest for h in hits if archive.layout.manifest(h.model.manifest).exists()
        ]
        return claims_of(archive, assessor, here, run.control.cancel)


def _row(hit: ops.Hit) -> tuple[str, ...]:
    model = hit.model
    names = [node.name.removeprefix("peer ") for node in hit.nodes]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    marks = " (partial)" * model.partial + " (restricted)" * model.restricted
    return (
        str(model.repo),
        model.commit.hex[:12] + marks,
        ",".join(model.refs) or "-",
        f"{model.files:,}",
        human_size(model.size),
        f"{len(names):,}",
        ", ".join(names[:_NAMED]) + more,
    )


def _document(hit: ops.Hit, claims: Claims | None, places: Sequence[str]) -> ModelDocument:
    model = hit.model
    return ModelDocument(
        repo=model.repo,
        revision=model.commit,
        manifest=model.manifest,
        refs=model.refs,
        files=model.files,
        bytes=model.size,
        partial=model.partial,
        restricted=model.restricted,
        nodes=len(hit.nodes),
        held_by=[HolderPart(node=node.node, name=node.name) for node in hit.nodes],
        claims=() if claims is None else claim_parts(claims),
        revoked="" if claims is None else claims.revoked,
        listed_by=places,
        made_from=model.made_from,
    )
