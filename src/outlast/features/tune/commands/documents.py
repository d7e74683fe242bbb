"""Lines of `tune`, `merge` and `convert`."""

from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@document("tune")
class TunePlanDocument(Document):
    """What a tuning takes, with `--dry-run`: nothing was trained, and nothing is kept."""

    type: Literal["tune_plan"] = "tune_plan"
    base: Annotated[RepoId, "the base"]
    rows: Annotated[int, "rows that are learned from"]
    held_out: Annotated[int, "rows that are only measured"]
    repeated: Annotated[int, "rows that are left out: the same as earlier ones"]
    cut: Annotated[int, "rows that are cut at the bound of tokens"]
    tokens: Annotated[int, "tokens of the rows that are learned from"]
    learned: Annotated[int, "those of them that the model learns to write"]
    longest: Annotated[int, "tokens of the longest row"]
    steps: Annotated[int, "steps of the training"]
    trainable: Annotated[int, "numbers that are learned"]
    memory_bytes: Annotated[int, "memory that it takes, estimated"]
    free_memory_bytes: Annotated[int, "memory that is free; 0: the system does not tell"]
    disk_bytes: Annotated[int, "disk that checkpoints and the adapter take, estimated"]
    step_seconds: Annotated[float, "time of a step, measured"]
    seconds: Annotated[float, "time of the whole training, from that"]


@document("tune")
class TunedDocument(Document):
    """An adapter that was trained, or taken, and lies in the archive now."""

    type: Literal["tuned"] = "tuned"
    repo: Annotated[RepoId, "the adapter"]
    revision: Annotated[GitOid, "its commit"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    base: Annotated[RepoId, "its base"]
    base_manifest: Annotated[Digest, "the sha256 of the base's manifest"]
    bytes: Annotated[int, "bytes of its files"]
    steps: Annotated[int, "steps of the training"]
    before: Annotated[float | None, "held-out loss of the base, in nats per token; null: unknown"]
    after: Annotated[float | None, "the same with the adapter"]
    loss: Annotated[float | None, "mean loss of the last tenth of the steps; null: unknown"]


@document("tune")
class HandedOverDocument(Document):
    """A training that was handed over to another program, in a folder."""

    type: Literal["handed-over"] = "handed-over"
    folder: Annotated[str, "the folder"]
    rows: Annotated[int, "rows to learn from"]
    held_out: Annotated[int, "rows that are only measured"]
    run: Annotated[str, "the command that trains"]
    take: Annotated[str, "the command that archives the result"]


@document("merge")
class MergedDocument(Document):
    """A model that was merged of a base and an adapter, and lies in the archive now."""

    type: Literal["merged"] = "merged"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "its commit"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    base: Annotated[RepoId, "the base"]
    adapter: Annotated[RepoId, "the adapter"]
    bytes: Annotated[int, "bytes of its files"]
    stored_bytes: Annotated[int, "bytes that they take on the disk"]
    adapter_bytes: Annotated[int, "bytes of the adapter's files"]


@document("convert")
class ConvertedDocument(Document):
    """A model or an adapter that was converted to GGUF, and lies in the archive now."""

    type: Literal["converted"] = "converted"
    repo: Annotated[RepoId, "the result"]
    revision: Annotated[GitOid, "its commit"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    source: Annotated[RepoId, "what it was converted from"]
    adapter: Annotated[bool, "whether it is an adapter, and no model"]
    bytes: Annotated[int, "bytes of its files"]
