"""Beacons on networks of their own: machines on a switch that know of no route beyond it."""

import contextlib
from collections.abc import Iterator, Sequence

import pytest

from outlast.swarm.lan.datagrams import Want, Wish
from outlast.swarm.lan.multicast import scan
from outlast.swarm.tuning import LanTuning
from tests.net import Host, Net, Switch, needs_lab
from tests.swarm.ears import Ears

pytestmark = [pytest.mark.rootonly, pytest.mark.net, needs_lab()]

KEY = b"k" * 20
_QUICK = LanTuning(scan_s=0.5)
_STOPPED_S = 2.5
"""More than two scans of the interfaces take, and than a node is silent between its wishes."""
FAMILIES = {"IPv4": ("10.5.0.{}/24",), "IPv6": (), "both": ("10.5.0.{}/24", "fd05::{}/64")}


class Lan:
    """Machines on one switch."""

    def __init__(self, net: Net, addresses: Sequence[str]) -> None:
        self.switch = Switch(net.namespace("switch"))
        self.net = net
        self._addresses = addresses
        self.hosts: list[Host] = []

    def host(self) -> Host:
        number = len(self.hosts) + 1
        host = self.net.machine(f"host{number}")
        if self._addresses == FAMILIES["IPv4"]:
            host.namespace.setting("ipv6/conf/default/disable_ipv6", "1")
        self.switch.connect(host, *(a.format(number) for a in self._addresses))
        self.hosts.append(host)
        return host


@contextlib.contextmanager
def lan(family: str) -> Iterator[tuple[Lan, contextlib.ExitStack]]:
    with Net() as net, contextlib.ExitStack() as stack:
        yield Lan(net, FAMILIES[family]), stack


def node(host: Host, name: bytes, stack: contextlib.ExitStack) -> Ears:
    """A node that runs on a machine."""
    ears = Ears(name * 20, tuning=_QUICK)
    with host.inside():
        stack.enter_context(ears.beacon)
    return ears


@pytest.mark.parametrize("family", FAMILIES)
def test_three_machines_find_each_other_and_one_that_comes_later(family: str) -> None:
    with lan(family) as (net, stack):
        hosts = [net.host() for _ in range(4)]
        nodes = [node(host, b"%d" % n, stack) for n, host in enumerate(hosts[:3])]
        for one in nodes:
            assert one.knows(*(other for other in nodes if other is not one))
            one.forget()
        late = node(hosts[3], b"l", stack)
        assert late.knows(*nodes)
        assert all(one.knows(late) for one in nodes)
        assert [one.problems for one in [*nodes, late]] == [[]] * 4
        found = {family_of(a) for one in nodes for a in one.addresses(late.node)}
        assert found <= {"IPv4": {"IPv4"}, "IPv6": {"link"}, "both": {"IPv4", "IPv6"}}[family]


def family_of(address: str) -> str:
    """An address that holds on one link has its zone with it."""
    if ":" not in address:
        return "IPv4"
    return "link" if address.startswith("fe80::") and address.endswith("%eth0") else "IPv6"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cable_that_is_pulled_and_put_back(family: str) -> None:
    with lan(family) as (net, stack):
        hosts = [net.host(), net.host()]
        one, other = (node(host, b"%d" % n, stack) for n, host in enumerate(hosts))
        assert one.knows(other)
        other.beacon.want([Wish(KEY)])
        assert one.until(lambda: one.said(KEY) != [])
        hosts[0].unplug()
        assert stopped(one)
        hosts[0].plug()
        assert one.knows(other)
        assert one.problems == []


def stopped(ears: Ears) -> bool:
    """Nothing was heard for two scans of the interfaces, so the beacon has noticed."""
    while True:
        ears.forget()
        with ears._changed:
            if not ears._changed.wait(_STOPPED_S):
                return True


def test_an_interface_and_an_address_that_come_while_it_runs() -> None:
    with lan("IPv4") as (net, stack):
        one = node(net.host(), b"1", stack)
        bare = net.net.machine("bare")
        bare.namespace.setting("ipv6/conf/default/disable_ipv6", "1")
        other = node(bare, b"2", stack)
        net.switch.connect(bare)
        bare.namespace.ip("address add 10.5.0.77/24 dev eth0")
        assert one.knows(other)
        assert other.knows(one)
        one.forget()
        bare.namespace.ip("address del 10.5.0.77/24 dev eth0", "address add 10.5.0.78/24 dev eth0")
        assert one.until(lambda: "10.5.0.78" in one.addresses(other.node))
        assert other.problems == []


def test_a_tunnel_is_left_alone() -> None:
    with lan("IPv4") as (net, _):
        host = net.host()
        host.namespace.ip("tuntap add tun0 mode tun", "address add 10.6.0.1/24 dev tun0")
        host.namespace.ip("link set tun0 up")
        with host.inside():
            assert {interface.name for interface in scan()} == {"lo", "eth0"}


def test_wants_cross_the_lan_on_both_families() -> None:
    with lan("both") as (net, stack):
        hosts = [net.host(), net.host()]
        one, other = (node(host, b"%d" % n, stack) for n, host in enumerate(hosts))
        one.beacon.want([Wish(KEY, able=True)])
        assert other.until(
            lambda: (
                {family_of(v.address) for v in other.heard if isinstance(v, Want)}
                == {"IPv4", "IPv6"}
            )
        )
