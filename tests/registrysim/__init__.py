"""A stand-in registry of container images that misbehaves on request: see README.md."""

from tests.registrysim.artifacts import Artifact, docker, kitops, modelpack, ollama, oras
from tests.registrysim.faults import Fault
from tests.registrysim.server import Asked, RegistrySim

__all__ = [
    "Artifact",
    "Asked",
    "Fault",
    "RegistrySim",
    "docker",
    "kitops",
    "modelpack",
    "ollama",
    "oras",
]
