"""Any Service, its rules loaded in a netns: exactly the endpoints that Kubernetes promises answer.

    outside 192.168.50.99 ──┐
                            node (the rules) ──── servers 10.244.1.10 … 10.244.2.11
    pod     10.244.1.99 ────┘

Who may answer is worked out here from what Kubernetes promises, not from the rules: the usable
endpoints, the traffic policy, the source ranges; and so is the client address that a server sees.
"""

from __future__ import annotations

import select
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kns.addresses import IPFamily
from kns.compile.proxy.iptables import iptables_tables
from kns.kernel import netns, processes, sockets
from kns.kernel.processes import Context
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import Service, SessionAffinity, TrafficPolicy
from kns.state.iptables import save_text
from tests.compile.proxy.services import OPTIONS, endpoint, endpoint_slice, load_balancer

pytestmark = pytest.mark.kernel

NODE = Node("node1", (ip_address("192.168.50.11"),), (ip_network("10.244.1.0/24"),))
LOCAL = ("10.244.1.10", "10.244.1.11")
REMOTE = ("10.244.2.10", "10.244.2.11")
CLIENTS = {"outside": "192.168.50.99", "pod": "10.244.1.99", "node": "192.168.50.11"}
#: the node's address towards the servers, which a masqueraded connection comes from
MASQUERADED = "10.244.0.1"
TARGETS = {
    "cluster IP": ("10.96.10.1", 80),
    "external IP": ("198.51.100.1", 80),
    "balancer IP": ("203.0.113.10", 80),
    "node port": ("192.168.50.11", 30080),
}
#: without endpoints nothing holds these back in OUTPUT: the node sends them out to the network
GOES_OUT = {"external IP", "balancer IP"}
PORT = 8080
#: of three endpoints, the last is missed with a probability below 1e-10
ATTEMPTS = 60
TIMEOUT = 0.15
REFUSED, DROPPED = "refused", "timed out"


@dataclass(frozen=True, slots=True)
class Place:
    """The netns by role, and what their names begin with."""

    prefix: str

    def name(self, role: str) -> str:
        return f"{self.prefix}-{role}"

    def run(self, role: str, command: str, text: str = "") -> None:
        done = processes.run(command.split(), context=Context(self.name(role)), input=text)
        assert (done.returncode, done.stderr) == (0, ""), command


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """The four netns, wired, with a server on every address that an endpoint may have."""
    made = Place(f"t-flow-{uuid.uuid4().hex[:6]}")
    roles = ("node", "outside", "pod", "servers")
    netns.prepare_folder()
    for role in roles:
        netns.in_thread(netns.create_here, made.name(role))
    try:
        _wire(made)
        with _Servers(made):
            yield made
    finally:
        for role in roles:
            netns.delete(made.name(role))


def _wire(made: Place) -> None:
    made.run("node", "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0")
    # a second refusal of the same client within a second would be silent, and look like a drop
    made.run("node", "sysctl -qw net.ipv4.icmp_ratelimit=0")
    # conntrack remembers the node's own refused connections, untranslated; a later one from the
    # same port would be taken for one of them and not be translated either
    made.run("node", "sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_sent=1")
    for role, near, far in (
        ("outside", "192.168.50.11/24", "192.168.50.99/24"),
        ("pod", "10.244.1.1/32", "10.244.1.99/32"),
        ("servers", "10.244.0.1/32", "10.244.0.2/32"),
    ):
        made.run("node", f"ip link add {role} type veth peer name eth0 netns {made.name(role)}")
        made.run("node", f"ip addr add {near} dev {role}")
        made.run("node", f"ip link set {role} up")
        made.run(role, f"ip addr add {far} dev eth0")
        made.run(role, "ip link set eth0 up")
        made.run(role, "ip link set lo up")
        gateway = near.partition("/")[0]
        made.run(role, f"ip route add default via {gateway} dev eth0 onlink")
    made.run("node", "ip link set lo up")
    made.run("node", "ip route add 10.244.1.99 dev pod")
    made.run("node", "ip route add 10.244.0.2 dev servers")
    made.run("node", "ip route add default via 192.168.50.99")
    for address in (*LOCAL, *REMOTE):
        made.run("servers", f"ip addr add {address}/32 dev lo")
        made.run("node", f"ip route add {address} via 10.244.0.2 dev servers onlink")


class _Servers:
    """Answers each connection with the server's and the client's address."""

    def __init__(self, made: Place) -> None:
        name = made.name("servers")
        self._sockets = [sockets.listen(name, ip, PORT) for ip in (*LOCAL, *REMOTE)]
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.close()
        self._thread.join()
        for item in (*self._sockets, self._ended):
            item.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([*self._sockets, self._ended], [], [])
            if self._ended in ready:
                return
            for server in ready:
                connection, client = server.accept()
                with connection:
                    host = connection.getsockname()[0]
                    connection.sendall(f"{host} {client[0]}".encode())


def connect(made: Place, client: str, target: tuple[str, int]) -> tuple[str, str]:
    """The server that answered and the client address that it saw; or the outcome, twice."""
    with netns.call_in(made.name(client), socket.socket) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(target)
            server, _, seen = connection.recv(100).decode().partition(" ")
        except TimeoutError:
            return DROPPED, DROPPED
        except ConnectionRefusedError:
            return REFUSED, REFUSED
        return server, seen


# -- what Kubernetes promises ----------------------------------------------------------------------


def promised(
    service: Service, endpoints: tuple[Endpoint, ...], client: str, target: str
) -> tuple[set[str], str]:
    """Who may answer, and the client address that is seen; or the outcome as both."""
    everywhere = usable(endpoints)
    if not everywhere:
        return {REFUSED}, REFUSED
    here = usable(tuple(item for item in endpoints if item.node_name == NODE.name))
    if target == "cluster IP":
        is_local = service.internal_traffic_policy is TrafficPolicy.LOCAL
        keeps_source = client == "pod"
    else:
        # a pod or the node that asks for an address of the outside world is served by anyone
        policy_local = service.external_traffic_policy is TrafficPolicy.LOCAL
        is_local = policy_local and client == "outside"
        keeps_source = policy_local and client != "node"
    source = ip_address(CLIENTS[client])
    ranges = [ip_network(text) for text in service.load_balancer_source_ranges]
    barred = target == "balancer IP" and ranges and not any(source in item for item in ranges)
    chosen = here if is_local else everywhere
    if barred or not chosen:
        return {DROPPED}, DROPPED
    return chosen, CLIENTS[client] if keeps_source else MASQUERADED


def usable(endpoints: tuple[Endpoint, ...]) -> set[str]:
    ready = {str(item.addresses[0]) for item in endpoints if item.ready}
    serving = {str(item.addresses[0]) for item in endpoints if item.serving and item.terminating}
    return ready or serving


# -- any Service -----------------------------------------------------------------------------------

POLICIES = st.sampled_from(TrafficPolicy)
RANGES = st.sampled_from(["192.168.50.0/24", "192.168.50.99/32", "10.244.0.0/16", "198.18.0.0/15"])


@st.composite
def endpoints_strategy(draw: st.DrawFn) -> tuple[Endpoint, ...]:
    found = []
    for address in draw(st.sets(st.sampled_from((*LOCAL, *REMOTE)), max_size=3)):
        kind = draw(st.sampled_from(["ready", "ready", "serving", "gone"]))
        found.append(
            endpoint(
                address,
                "node1" if address in LOCAL else "node2",
                ready=kind == "ready",
                serving=kind != "gone",
                terminating=kind != "ready",
            )
        )
    return tuple(found)


SERVICES = st.builds(
    load_balancer,
    cluster_ips=st.just((ip_address("10.96.10.1"),)),
    external_ips=st.just((ip_address("198.51.100.1"),)),
    internal_traffic_policy=POLICIES,
    external_traffic_policy=POLICIES,
    session_affinity=st.sampled_from(SessionAffinity),
    load_balancer_source_ranges=st.lists(RANGES, max_size=2).map(tuple),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(service=SERVICES, endpoints=endpoints_strategy())
def test_exactly_the_promised_endpoints_answer(
    place: Place, service: Service, endpoints: tuple[Endpoint, ...]
) -> None:
    load(place, service, endpoint_slice(*endpoints))
    for client in CLIENTS:
        for target, address in TARGETS.items():
            expected, source = promised(service, endpoints, client, target)
            if expected == {REFUSED} and client == "node" and target in GOES_OUT:
                continue
            sticky = service.session_affinity is SessionAffinity.CLIENT_IP
            actual = observed(place, client, address, expected, sticky=sticky)
            wanted = {(server, source) for server in expected}
            if sticky:
                assert len(actual) == 1, (client, target)
                assert actual <= wanted, (client, target)
            else:
                assert actual == wanted, (client, target)


def load(made: Place, service: Service, item: EndpointSlice) -> None:
    tables = iptables_tables((service,), (item,), NODE, OPTIONS, IPFamily.IPV4)
    made.run("node", "iptables-restore", save_text(tables))


def observed(
    made: Place, client: str, target: tuple[str, int], expected: set[str], *, sticky: bool
) -> set[tuple[str, str]]:
    """What came of it, until everybody expected has answered and three more connections besides."""
    found: set[tuple[str, str]] = set()
    enough = 1 if sticky else len(expected)
    more = 1 if expected <= {REFUSED, DROPPED} else 4
    for _ in range(ATTEMPTS):
        found.add(connect(made, client, target))
        more -= len(found) >= enough
        if not more:
            break
    return found
