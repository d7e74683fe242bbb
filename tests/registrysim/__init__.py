"""A stand-in registry of container images that misbehaves on request: see README.md."""

from tests.registrysim.faults import Fault
from tests.registrysim.images import Image, docker, kitops, modelpack, ollama, oras
from tests.registrysim.server import Asked, RegistrySim

__all__ = [
    "Asked",
    "Fault",
    "Image",
    "RegistrySim",
    "docker",
    "kitops",
    "modelpack",
    "ollama",
    "oras",
]
