"""What a netns is made to forget of its neighbors, and what becomes of packets meanwhile."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

import pytest

from kns.kernel import neighbors, netns
from kns.kernel.apply import apply
from kns.kernel.processes import Context, run
from kns.plan.diff import plan
from kns.state.model import Address, HostState, Link, Netns, VethPeer, loopback

pytestmark = pytest.mark.kernel

HERE, THERE = "kns.neighbortest.here", "kns.neighbortest.there"
#: seconds: an address is asked for three times, one second apart
PATIENCE = 3.0


@pytest.fixture(autouse=True)
def pair() -> Iterator[None]:
    """Two netns with a cable between them."""
    spaces = (space(HERE, THERE, 1), space(THERE, HERE, 2))
    apply(plan(HostState(spaces), HostState()), {})
    yield
    netns.delete_all(netns.list_netns("kns.neighbortest."))
    netns.remove_folder_if_empty()


def space(name: str, peer: str, number: int) -> Netns:
    link = Link("eth0", VethPeer(peer, "eth0"), mac=f"02:00:5e:00:00:0{number}")
    interfaces = (f"10.0.0.{number}/24", f"fd00::{number}/64")
    addresses = tuple(Address("eth0", ip_interface(item)) for item in interfaces)
    return Netns(name, links=(loopback(), link), addresses=addresses)


def ip(name: str, *words: str) -> str:
    done = run(("ip", *words), context=Context(name))
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(name: str) -> set[tuple[str, str]]:
    """The addresses of the netns' neighbor tables, and what is known of each."""
    lines = ip(name, "neigh").splitlines()
    return {(line.split()[0], line.split()[-1]) for line in lines if not line.startswith("fe80")}


def connecting(address: str) -> socket.socket:
    """A connection whose first packet waits for the MAC address of that address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = netns.call_in(HERE, socket.socket, family)
    client.setblocking(False)
    assert client.connect_ex((address, 8080)) == errno.EINPROGRESS
    return client


def outcome(client: socket.socket, seconds: float) -> int | None:
    """How the connection has ended, as an errno; None if it goes on."""
    poll = select.poll()
    poll.register(client, select.POLLOUT)
    if not poll.poll(seconds * 1000):
        return None
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.mark.parametrize("address", ["10.0.0.9", "fd00::9"])
def test_who_is_being_asked_for_is_asked_for_on(address: str) -> None:
    """A pod that comes: its address is used a moment before somebody answers for it."""
    with connecting(address) as client:
        assert (address, "INCOMPLETE") in states(HERE)
        netns.in_thread(neighbors.forget, (HERE,))
        assert outcome(client, 0.1) is None
        assert (address, "INCOMPLETE") in states(HERE)
        nodad = ("nodad",) if ":" in address else ()
        family = socket.AF_INET6 if nodad else socket.AF_INET
        ip(THERE, "addr", "add", f"{address}/{64 if nodad else 24}", "dev", "eth0", *nodad)
        server = netns.call_in(THERE, socket.create_server, (address, 8080), family=family)
        with server:
            assert outcome(client, PATIENCE) == 0


def test_who_waits_for_an_answer_is_found() -> None:
    nobody = ip_address("10.0.0.8")
    with connecting("10.0.0.8"):
        assert netns.in_thread(neighbors.asking, (HERE, THERE), {nobody}) == (HERE,)
        assert netns.in_thread(neighbors.asking, (HERE,), {ip_address("10.0.0.7")}) == ()


def test_what_has_been_learned_is_forgotten_and_what_was_set_is_kept() -> None:
    ip(HERE, "neigh", "add", "10.0.0.7", "lladdr", "02:00:5e:00:00:07", "dev", "eth0")
    for number, state in enumerate(("reachable", "stale", "delay", "probe"), 20):
        set_to = ("lladdr", "02:00:5e:00:00:99", "dev", "eth0", "nud", state)
        ip(HERE, "neigh", "add", f"10.0.0.{number}", *set_to)
    netns.in_thread(neighbors.forget, (HERE,))
    assert states(HERE) == {("10.0.0.7", "PERMANENT")}
