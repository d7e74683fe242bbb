"""Stand-ins for sources that are no hub, with faults, for tests: ModelScope, and web folders."""

from tests.sourcesim.folder import FolderSim, sums
from tests.sourcesim.modelscope import Model, ModelScopeSim
from tests.sourcesim.s3 import S3Sim
from tests.sourcesim.site import Asked, Reply, Site, ranged

__all__ = [
    "Asked",
    "FolderSim",
    "Model",
    "ModelScopeSim",
    "Reply",
    "S3Sim",
    "Site",
    "ranged",
    "sums",
]
