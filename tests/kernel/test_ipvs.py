"""IPVS on the kernel: what is written reads back, connections are let end, text parts load."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.addresses import IPFamily
from kns.compile.proxy.ipvs import ipvs_rules
from kns.compile.proxy.ipvs_rules import IpvsRules
from kns.compile.proxy.ipvs_text import render_parts
from kns.errors import ApplyError
from kns.kernel import ipvs, netns, processes
from kns.kernel.processes import Context
from kns.kernel.sockets import listen
from kns.kinds.networking import ProxyMode
from kns.plan.ops import SetVirtualServers
from kns.state.ipset import parse_save as parse_ipset
from kns.state.ipvs import parse_save, save_text, sort_key, steps
from kns.state.model import IpvsTimeouts, RealServer, VirtualServer
from tests.kube_proxy_cases import CASES, states_of_case

pytestmark = pytest.mark.ipvs

A, B = RealServer(ip_address("10.244.1.10"), 8080), RealServer(ip_address("10.244.1.11"), 8080)
WEB = VirtualServer("tcp", ip_address("10.96.10.1"), 80, real_servers=(A, B))
ONLY_A = replace(WEB, real_servers=(A,))
#: IPVS forgets a reset connection after this long (ip_vs_proto_tcp.c, state CLOSE), and a bit
RESET_SECONDS = 15.0


@pytest.fixture
def space() -> Iterator[str]:
    """The name of a netns whose lo is up and has the backends' and the service's addresses."""
    name = f"t-ipvs-{uuid.uuid4().hex[:8]}"
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        run(name, "ip", "link", "set", "lo", "up")
        for item in (A.address, B.address, WEB.address):
            run(name, "ip", "addr", "add", f"{item}/32", "dev", "lo")
        yield name
    finally:
        netns.delete(name)


def run(space: str, *argv: str, text: str = "") -> str:
    done = processes.run(argv, context=Context(space), input=text, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def observed(space: str) -> tuple[VirtualServer, ...]:
    return netns.call_in(space, ipvs.read_virtual_servers_here)


def apply(
    space: str, *desired: VirtualServer, timeouts: IpvsTimeouts | None = None
) -> tuple[VirtualServer, ...]:
    """Bring the netns to what is desired; what ipvsadm tells then."""
    op = SetVirtualServers(space, desired, observed(space), (), timeouts or IpvsTimeouts())
    netns.call_in(space, ipvs.apply_here, op)
    return parse_save(run(space, "ipvsadm", "-Sn"))


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)


# -- reading and writing ---------------------------------------------------------------------------

SIX = VirtualServer(
    "tcp",
    ip_address("fd00:10:96::a01"),
    80,
    real_servers=(RealServer(ip_address("fd00:10:244:1::10"), 8080),),
)


@pytest.mark.parametrize(
    "service",
    [
        WEB,
        SIX,
        replace(WEB, protocol="udp"),
        replace(WEB, protocol="sctp"),
        replace(WEB, real_servers=()),
        replace(WEB, persistent=600),
        replace(SIX, persistent=10800),
        replace(WEB, scheduler="mh", flags=0x10),
        replace(WEB, scheduler="sh", flags=0x18, persistent=30),
        replace(WEB, real_servers=(replace(A, weight=7), replace(B, weight=0))),
        *(
            replace(WEB, scheduler=name)
            for name in ("wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq")
        ),
    ],
    ids=lambda service: save_text([replace(service, real_servers=())]).strip(),
)
def test_virtual_server_reads_back_as_it_was_written(space: str, service: VirtualServer) -> None:
    assert apply(space, service) == (service,)
    assert observed(space) == (service,)


def test_thousand_virtual_servers_in_one_go(space: str) -> None:
    services = tuple(
        sorted((replace(WEB, address=WEB.address + i) for i in range(1000)), key=sort_key)
    )
    assert apply(space, *services) == services
    assert observed(space) == services
    assert apply(space) == ()


def test_edits_reach_the_kernel(space: str) -> None:
    apply(space, WEB)
    edited = replace(ONLY_A, scheduler="lc", persistent=60, real_servers=(replace(A, weight=3),))
    assert apply(space, edited) == (edited,)


def test_applying_twice_is_no_error(space: str) -> None:
    """Another run may have been faster: what is there already, or gone already, is done."""
    create, remove = SetVirtualServers(space, (WEB,), ()), SetVirtualServers(space, (), (WEB,))
    for op in (create, create, remove, remove):
        netns.call_in(space, ipvs.apply_here, op)
    assert observed(space) == ()


def test_unknown_scheduler_is_told_with_the_command(space: str) -> None:
    with pytest.raises(ApplyError) as caught:
        apply(space, replace(WEB, scheduler="nonesuch"))
    assert "ipvsadm -A -t 10.96.10.1:80 -s nonesuch" in str(caught.value)
    assert "ip_vs_nonesuch" in caught.value.hint


def test_timeouts_are_set_one_by_one(space: str) -> None:
    before = netns.call_in(space, ipvs.read_timeouts_here)
    apply(space, timeouts=IpvsTimeouts(tcp=901, udp=31))
    after = netns.call_in(space, ipvs.read_timeouts_here)
    assert after == IpvsTimeouts(901, before.tcp_fin, 31)
    assert "901 120 31" in run(space, "ipvsadm", "-Ln", "--timeout")


def test_virtual_servers_of_a_mark_are_somebody_elses(space: str) -> None:
    run(space, "ipvsadm", "-A", "-f", "7", "-s", "rr")
    run(space, "ipvsadm", "-a", "-f", "7", "-r", "10.244.9.9:80", "-m")
    apply(space, WEB)
    assert observed(space) == (WEB,)
    apply(space)
    assert run(space, "ipvsadm", "-Sn").splitlines()[0] == "-A -f 7 -s rr"


# -- graceful termination --------------------------------------------------------------------------


def serve(stack: ExitStack, space: str, server: RealServer) -> None:
    """Answer each TCP connection with the server's address, and keep it open."""
    listener = stack.enter_context(listen(space, str(server.address), server.port))
    listener.setblocking(True)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            stack.enter_context(connection)
            connection.sendall(f"{server.address}\n".encode())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(listener.shutdown, socket.SHUT_RDWR)


def connect(space: str) -> tuple[str, socket.socket]:
    """A new connection to the service: the backend that answered, and the open socket."""

    def body() -> socket.socket:
        return socket.create_connection((str(WEB.address), WEB.port), timeout=10)

    opened = netns.call_in(space, body)
    return opened.recv(64).decode().strip(), opened


def reset(connection: socket.socket) -> None:
    """Close with RST: IPVS then keeps the entry for seconds, not for TIME_WAIT's two minutes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def weights(space: str) -> dict[str, int]:
    return {str(s.address): s.weight for item in observed(space) for s in item.real_servers}


def test_tcp_connections_of_a_removed_backend_last(space: str) -> None:
    first, second = str(A.address), str(B.address)
    with ExitStack() as stack:
        serve(stack, space, A)
        serve(stack, space, B)
        apply(space, WEB)
        opened = [connect(space) for _ in range(4)]
        assert sorted(name for name, _ in opened) == [first, first, second, second]

        apply(space, ONLY_A)
        assert weights(space) == {first: 1, second: 0}
        assert steps((ONLY_A,), observed(space)) == (), "it is waited for, which is no difference"
        after = [connect(space) for _ in range(4)]
        assert {name for name, _ in after} == {first}
        kept = [item for name, item in opened if name == second]
        for item in kept:
            item.sendall(b"still there")

        for item in kept:
            reset(item)
        wait_until(lambda: bool(steps((ONLY_A,), observed(space))), RESET_SECONDS)
        assert apply(space, ONLY_A) == (ONLY_A,)
        for _, item in (*opened, *after):
            item.close()


def test_backend_that_comes_back_while_it_drains_gets_connections_again(space: str) -> None:
    with ExitStack() as stack:
        serve(stack, space, A)
        serve(stack, space, B)
        apply(space, WEB)
        opened = [connect(space) for _ in range(2)]
        apply(space, ONLY_A)
        assert weights(space)[str(B.address)] == 0
        apply(space, WEB)
        opened += [connect(space) for _ in range(2)]
        assert {name for name, _ in opened[2:]} == {str(A.address), str(B.address)}
        for _, item in opened:
            item.close()


def test_udp_backend_goes_at_once(space: str) -> None:
    service = replace(WEB, protocol="udp")
    apply(space, service)
    with netns.call_in(space, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((str(WEB.address), WEB.port))
        for _ in range(4):
            send(client)
    assert any(s.connections for item in observed(space) for s in item.real_servers)
    assert apply(space, replace(service, real_servers=(A,))) == (
        replace(service, real_servers=(A,)),
    )


def send(client: socket.socket) -> None:
    """One datagram; that nobody listens may be told by the next."""
    try:
        client.send(b"hello")
    except ConnectionRefusedError:
        client.send(b"hello")


# -- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["dual-stack", "loadbalancer-sourceranges"])
def test_each_part_of_the_text_loads_with_its_program(space: str, case: str) -> None:
    (state,) = states_of_case(CASES / case, ProxyMode.IPVS)
    services, slices = state.objects.services, state.objects.endpoint_slices
    four, six = (
        ipvs_rules(services, slices, state.node, state.options, family) for family in IPFamily
    )
    rules: IpvsRules = four.joined(six)
    for title, text in render_parts(rules):
        if title == "ip":
            run(space, "sh", "-e", text=text)
        else:
            run(space, *title.split(), text=text)
    assert parse_save(run(space, "ipvsadm", "-Sn")) == tuple(
        sorted(rules.virtual_servers, key=sort_key)
    )
    assert parse_ipset(run(space, "ipset", "save")) == tuple(
        sorted(rules.ipsets, key=lambda item: item.name)
    )
    for item in rules.sysctls:
        assert run(space, "sysctl", "-n", f"net/{item.key}").strip() == item.value
