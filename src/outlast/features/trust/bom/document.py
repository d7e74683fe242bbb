"""A bill of materials: CycloneDX 1.6 (ECMA-424) as JSON, of models in an archive."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import rfc8785

from outlast import __version__
from outlast.core.digest import Digest
from outlast.features.trust.bom.described import DescribedModel, component, is_whole, reference

_SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_VERSION: Final = "1.6"


def bill(models: Sequence[DescribedModel], when: str) -> dict[str, Any]:
    """The document, made at `when` (ISO 8601, UTC). Its serial number follows from the rest, so two
    runs over the same archive at the same moment write the same bytes.
    """
    held = {reference(m.revision.repo, m.revision.id.hex) for m in models}
    document: dict[str, Any] = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": _VERSION,
        "version": 1,
        "metadata": {
            "timestamp": when,
            "tools": {
                "components": [{"type": "application", "name": "outlast", "version": __version__}]
            },
        },
        "components": [component(model) for model in models],
        "dependencies": [_depends(model, held) for model in models],
        "compositions": [_whole(model) for model in models],
    }
    name = Digest.of(rfc8785.dumps(document)).hex
    return {**document, "serialNumber": f"urn:uuid:{uuid.UUID(name[:32], version=4)}"}


def to_bytes(document: dict[str, Any]) -> bytes:
    """Canonical JSON (RFC 8785), as it is signed."""
    return rfc8785.dumps(document)


def _depends(model: DescribedModel, held: set[str]) -> dict[str, Any]:
    bases = [reference(one.repo, one.commit) for one in model.ancestors]
    return {"ref": model.ref, "dependsOn": sorted({*bases} & held - {model.ref})}


def _whole(model: DescribedModel) -> dict[str, Any]:
    return {
        "aggregate": "complete" if is_whole(model) else "incomplete",
        "assemblies": [model.ref],
    }
