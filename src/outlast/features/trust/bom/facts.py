"""What an archive knows of a revision, for a bill of materials. Nothing is hashed again, and no
file but the configuration and the card is read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from outlast.codec.memory import read
from outlast.core.claims import Assessor
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.features.trust.bom.described import Ancestor, DescribedModel, LicenceFound
from outlast.features.trust.rules.licence_texts import licence_texts
from outlast.features.trust.rules.licences import read_licence
from outlast.features.trust.rules.publishers import Publishers
from outlast.intake.judging import subject_of
from outlast.store.archive import Archive
from outlast.store.index import Summary

_CONFIG: Final = "config.json"
_CONFIG_LIMIT: Final = 1 << 20
_SHOWN: Final = 200
_MOST_DATASETS: Final = 100
_DATASET_TAG: Final = "dataset:"


@dataclass(frozen=True, slots=True)
class Describing:
    """What descriptions are made from. `summaries` are those of all archived revisions."""

    archive: Archive
    publishers: Publishers
    summaries: Sequence[Summary]
    assessor: Assessor | None = None

    def describe(self, revision: Revision, manifest: Digest | None) -> DescribedModel:
        """All that is known of a revision. Raises :class:`OutlastError` where its records cannot be
        read.
        """
        archive, subject = self.archive, subject_of(self.archive, revision)
        about = archive.refs.about(revision.repo)
        claims = None
        if self.assessor is not None and manifest is not None:
            claims = self.assessor.claims(manifest, revision)
        return DescribedModel(
            revision=revision,
            manifest=manifest,
            absent=tuple(e for e in revision.files if not archive.lies_here(e)),
            licence=LicenceFound(
                written=subject.licence,
                spdx=read_licence(subject.licence).spdx,
                texts=licence_texts(revision),
            ),
            publisher=self.publishers.of(revision.repo),
            ancestors=tuple(self._ancestors(subject.base_models)),
            card={
                **_from_config(archive, revision),
                **_from_hub(about.facts, about.tags),
            },
            sources=tuple(_urls([subject.source])),
            claims=claims,
        )

    def _ancestors(self, names: Iterable[str]) -> Iterator[Ancestor]:
        """The models that this one names as its bases; each with its commit where just one revision
        of it is archived: a name does not say which of several it was.
        """
        for name in names:
            repo = RepoId.parse(name)
            held = [one for one in self.summaries if one.repo == repo]
            if len(held) == 1:
                yield Ancestor(repo, held[0].revision.hex, held[0].digest)
            else:
                yield Ancestor(repo)


def _from_hub(facts: Mapping[str, str], tags: Iterable[str]) -> dict[str, str | Sequence[str]]:
    found: dict[str, str | Sequence[str]] = {}
    if task := facts.get("pipeline_tag"):
        found["task"] = task[:_SHOWN]
    datasets = [t.removeprefix(_DATASET_TAG) for t in tags if t.startswith(_DATASET_TAG)]
    if datasets:
        found["datasets"] = [name[:_SHOWN] for name in datasets[:_MOST_DATASETS]]
    return found


def _from_config(archive: Archive, revision: Revision) -> dict[str, str | Sequence[str]]:
    """The kind of the model, as its configuration says; one that is damaged, or is none, says
    nothing.
    """
    entry = next((e for e in revision.files if e.path == _CONFIG), None)
    if entry is None or entry.sha256 is None or entry.size > _CONFIG_LIMIT:
        return {}
    try:
        with archive.open_blob(entry.sha256) as blob:
            config = json.loads(read(blob, 0, blob.size))
    except (OutlastError, ValueError, RecursionError):
        return {}
    if not isinstance(config, dict):
        return {}
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else None
    found = {"model_type": config.get("model_type"), "architecture": first}
    return {key: text[:_SHOWN] for key, text in found.items() if isinstance(text, str) and text}


def _urls(sources: Iterable[str]) -> Iterator[str]:
    """Those that are web addresses, without what may be secret in them."""
    for source in sources:
        try:
            url = urlsplit(source)
        except ValueError:
            continue
        if url.scheme in {"http", "https"} and url.hostname and "@" not in url.netloc:
            yield f"{url.scheme}://{url.netloc}{url.path}"
