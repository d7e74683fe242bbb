"""A stand-in provider of hosted models that misbehaves on request: see README.md."""

from tests.providersim.faults import ACTIONS, Fault
from tests.providersim.server import ProviderAsked, ProviderSim
from tests.providersim.text import answer_text, token

__all__ = ["ACTIONS", "Fault", "ProviderAsked", "ProviderSim", "answer_text", "token"]
