"""Machines on networks of their own, in the kernel's namespaces: see README.md."""

from tests.net.capture import Capture, Packet
from tests.net.kernel import LabError, needs_lab
from tests.net.lab import Counters, Host, Lan, Net, Relay, Switch, Wire, one_lan

__all__ = [
    "Capture",
    "Counters",
    "Host",
    "LabError",
    "Lan",
    "Net",
    "Packet",
    "Relay",
    "Switch",
    "Wire",
    "needs_lab",
    "one_lan",
]
