"""The files of a bundle that are for people and for bare hosts: no importer reads them."""

from collections.abc import Mapping
from importlib.resources import files

from outlast.features.bundle.planning import ExportPlan


def companions(plan: ExportPlan) -> Mapping[str, bytes]:
    """The files that go on every medium, by path: the manifests, and what checks and restores the
    bundle without outlast.
    """
    records = plan.contents.records
    found = {record.path: data for record, data in zip(records, plan.records, strict=True)}
    carried = files(__package__) / "carried"
    return {**found, "verify.py": (carried / "verify.py").read_bytes()}
