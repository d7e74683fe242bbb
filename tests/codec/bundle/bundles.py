"""Contents of bundles, made up for tests."""

from outlast.codec.bundle.contents import (
    BundleContents,
    BundledBlob,
    BundledModel,
    BundledRef,
    Record,
    Since,
)
from outlast.codec.bundle.geometry import PartLayout
from outlast.codec.payload import Form
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId, RepoKind

LAYOUT = PartLayout(block=4096, rows=3, group=4, parity=2)
MANIFEST, BLOB, CAPSULE, BASE = (Digest.of(text) for text in (b"m", b"plain", b"capsule", b"base"))


def small_contents() -> BundleContents:
    """One of everything: builds on another bundle, and has a delta capsule on what that holds."""
    ref = BundledRef("main", GitOid("a" * 40), "https://hub", "2026-01-02T03:04:05+00:00", "branch")
    model = BundledModel(
        RepoId(RepoKind.MODEL, "org/name"),
        private=False,
        gated="manual",
        tags=("license:mit",),
        facts={"pipeline_tag": "text-generation"},
        manifests=(MANIFEST,),
        refs=(ref,),
    )
    return BundleContents(
        LAYOUT,
        (model,),
        (Record(f"manifests/{MANIFEST}.json", MANIFEST, 500, 0),),
        (
            BundledBlob(BLOB, 10_000, Form.PLAIN, 500, 10_000),
            BundledBlob(CAPSULE, 90_000, Form.CAPSULE, 10_500, 40_000, (BASE,)),
        ),
        sequence=4,
        since=Since(Digest.of(b"another"), 3),
        assumed_blobs=(BASE,),
    )
