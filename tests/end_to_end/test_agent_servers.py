"""The agent's built-in servers in real netns: who is seen, what is opened, what is closed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile import paths
from kns.engine.orders import AgentStatus, Converged, Refused, decode_answer
from kns.kernel import netns, processes, sockets
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.namespace import Namespace
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort
from kns.kinds.service import Service, ServicePort, ServiceType, TrafficPolicy
from tests.end_to_end.agent_lab import (
    ScratchLab,
    ask_udp,
    empty_lab,
    get,
    get_json,
    inside,
    pod,
    refuses,
    server,
)

pytestmark = pytest.mark.kernel
NUMBERS = itertools.count()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchLab]:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = empty_lab(f"runtime{os.getpid()}s{next(NUMBERS)}")
    yield made
    made.remove()


def test_server_sees_the_clients_address_and_says_who_it_is(lab: ScratchLab) -> None:
    client, _server = lab.make_netns("a"), lab.make_netns("b")
    lab.join("a", "b")
    lab.want(pod("b", server(8080), server(9090, name="side")))

    async def body() -> list[dict[str, Any]]:
        async with lab.agent() as agent:
            assert await agent.converge() == Converged(servers=2, containers=0)
            return [
                await inside(client, get_json, "10.77.0.2", 8080),
                await inside(client, get_json, "10.77.0.3", 9090),
                await inside(lab.netns_of("b"), get_json, "127.0.0.1", 9090),
            ]

    first, second, local = asyncio.run(body())
    assert (first["pod"], first["container"], first["node"]) == ("b", "web", "node1")
    assert (first["client_address"], first["server_address"]) == ("10.77.0.1", "10.77.0.2")
    assert (second["container"], second["server_address"]) == ("side", "10.77.0.3")
    assert (local["client_address"], local["server_address"]) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize("address", ["10.77.0.2", "10.77.0.3", "fd77::2", "fd77::3"])
def test_udp_reply_leaves_from_the_address_that_was_asked(lab: ScratchLab, address: str) -> None:
    client, _server = lab.make_netns("a"), lab.make_netns("b")
    lab.join("a", "b")
    lab.want(pod("b", server(udp=5353), addresses=("10.77.0.2", "fd77::2")))

    async def body() -> dict[str, Any]:
        async with lab.agent() as agent:
            assert (await agent.converge()).servers == 2
            found: dict[str, Any] = json.loads(
                await inside(client, ask_udp, address, 5353, "whoami")
            )
            return found

    seen = asyncio.run(body())
    assert seen["server_address"] == address
    assert seen["client_address"] == ("fd77::1" if ":" in address else "10.77.0.1")


def test_environment_is_the_one_of_the_pod(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", server(8080)))
    etc = lab.paths.pod_etc(name)
    etc.mkdir(parents=True)
    (etc / "env").write_text('[["SVC_A_SERVICE_HOST", "10.96.0.7"]]')

    async def body() -> tuple[int, str]:
        async with lab.agent() as agent:
            await agent.converge()
            reply: tuple[int, str] = await inside(name, get, "127.0.0.1", 8080, "/env")
            return reply

    assert asyncio.run(body()) == (200, "HOSTNAME=b\nSVC_A_SERVICE_HOST=10.96.0.7\n")


def test_taken_port_is_reported_and_the_others_are_served(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", server(8080, 8081)))
    other = sockets.listen(name, "127.0.0.1", 8080)

    async def body() -> None:
        async with lab.agent() as agent:
            answer = await agent.converge()
            assert (len(answer.errors), answer.servers) == (1, 1)
            assert [item.message for item in answer.errors] == ["address already in use"]
            assert answer.errors[0].subject == (f"default/b/web ({name} tcp 0.0.0.0:8080)")
            assert (await inside(name, get, "127.0.0.1", 8081, "/hostname")) == (200, "b")
            other.close()
            answer = await agent.converge()
            assert (answer.servers, answer.errors) == (2, ())

    asyncio.run(body())


def test_two_containers_on_one_port_are_reported(lab: ScratchLab) -> None:
    lab.make_netns("b")
    lab.want(pod("b", server(8080), server(8080, name="side")))

    async def body() -> Converged:
        async with lab.agent() as agent:
            return await agent.converge()

    answer = asyncio.run(body())
    assert (len(answer.errors), answer.servers) == (1, 1)
    assert answer.errors[0].message == "another container of the pod serves this port already"


def test_absent_netns_is_reported(lab: ScratchLab) -> None:
    lab.make_netns("b")
    lab.want(pod("gone", server(8080)), pod("b", server(8080)))

    async def body() -> Converged:
        async with lab.agent() as agent:
            return await agent.converge()

    answer = asyncio.run(body())
    assert (answer.servers, len(answer.errors)) == (1, 1)
    assert "does not exist" in answer.errors[0].message


def test_change_of_one_port_leaves_the_connections_of_another(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", server(8080, 8081)))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            kept = await inside(name, socket.create_connection, ("127.0.0.1", 8080), 5)
            lost = await inside(name, socket.create_connection, ("127.0.0.1", 8081), 5)
            lab.want(pod("b", server(8080, 8082)))
            assert (await agent.converge()).servers == 2
            assert await inside(name, refuses, "127.0.0.1", 8081)
            assert (await inside(name, get, "127.0.0.1", 8082, "/hostname")) == (200, "b")
            kept.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
            assert (await asyncio.to_thread(_read_all, kept)).endswith(b"\r\n\r\nb")
            assert await asyncio.to_thread(_read_all, lost) == b""

    asyncio.run(body())


def _read_all(sock: socket.socket) -> bytes:
    with sock:
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_what_a_server_says_may_change_without_a_new_socket(lab: ScratchLab) -> None:
    from dataclasses import replace

    name = lab.make_netns("b")
    before = pod("b", server(8080))
    lab.want(before)

    async def body() -> list[int]:
        async with lab.agent() as agent:
            await agent.converge()
            first = (await inside(name, get, "127.0.0.1", 8080, "/healthz"))[0]
            lab.want(replace(before, ready=False))
            await agent.converge()
            return [first, (await inside(name, get, "127.0.0.1", 8080, "/healthz"))[0]]

    assert asyncio.run(body()) == [200, 412]


def test_pod_that_was_made_anew_is_served_and_the_old_netns_goes(lab: ScratchLab) -> None:
    lab.make_netns("a")
    name = lab.make_netns("b")
    lab.join("a", "b")
    lab.want(pod("b", server(8080)))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            before = netns.identity(name)
            lab.delete_netns("b")
            lab.make_netns("b")
            assert netns.identity(name) != before
            assert await inside(name, refuses, "127.0.0.1", 8080)
            assert (await agent.converge()).servers == 1
            assert (await inside(name, get, "127.0.0.1", 8080, "/hostname")) == (200, "b")
            # the kernel takes the old netns' end of the veth away, and so ours: nobody held it
            for _ in range(100):
                if "eth0" not in await inside(lab.netns_of("a"), _links):
                    return
                await asyncio.sleep(0.05)
            pytest.fail("the old netns lives on")

    asyncio.run(body())


def _links() -> list[str]:
    return [name for _index, name in socket.if_nameindex()]


def test_converge_without_a_change_opens_nothing(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", server(8080, udp=5353)))

    async def body() -> tuple[set[str], set[str]]:
        async with lab.agent() as agent:
            await agent.converge()
            before = _sockets()
            await agent.converge()
            return before, _sockets()

    before, after = asyncio.run(body())
    assert before == after
    assert len(before) > 2
    assert netns.identity(name) is not None


def _sockets() -> set[str]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own descriptor
            found.add(str(path.readlink()))
    return {target for target in found if target.startswith("socket:")}


def test_orders_over_the_socket(lab: ScratchLab) -> None:
    lab.make_netns("b")
    lab.want(pod("b", server(8080)))

    async def body() -> list[bytes]:
        async with lab.agent():
            assert lab.paths.socket.stat().st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(lab.paths.socket)
            answers = []
            refused = (b"{", b'{"op": "x"}', b"7", b"[" * 60_000)
            for line in (b'{"Converge": {}}', b'{"GetStatus": {}}', *refused):
                writer.write(line + b"\n")
                answers.append(await reader.readline())
            writer.close()
            return answers

    first, second, *rest = asyncio.run(body())
    assert decode_answer(first, Converged) == Converged(servers=1, containers=0)
    status = decode_answer(second, AgentStatus)
    assert isinstance(status, AgentStatus)
    assert (status.pid, len(status.listeners), status.containers) == (os.getpid(), 1, ())
    assert status.rss_kb > 1000
    refused = [decode_answer(line, Refused) for line in rest]
    assert [answer.error[:12] for answer in refused] == ["not an order"] * 4


def test_order_that_never_ends_costs_its_own_connection_only(lab: ScratchLab) -> None:
    async def body() -> AgentStatus:
        async with lab.agent() as agent:
            reader, writer = await asyncio.open_unix_connection(lab.paths.socket)
            writer.write(b"x" * 200_000)
            refused = decode_answer(await reader.read(), Refused)
            assert refused.error == "an order of more than 65536 bytes"
            writer.close()
            return await agent.status()

    assert asyncio.run(body()).errors == ()


def test_dns_pod_answers_its_first_question_and_follows_the_cluster(lab: ScratchLab) -> None:
    from dataclasses import replace
    from ipaddress import ip_address

    import dns.message
    import dns.query

    name = lab.make_netns("kube-system.coredns-1")
    ports = tuple(ContainerPort(53, protocol=protocol) for protocol in (Protocol.UDP, Protocol.TCP))
    dns_pod = replace(
        pod("coredns-1", Container("coredns", ports)),
        namespace="kube-system",
        labels={"k8s-app": "kube-dns"},
    )
    lab.want(dns_pod)
    service = Service(
        "default", "svc-a", cluster_ips=(ip_address("10.96.0.7"),), ports=(ServicePort(80),)
    )

    def ask(question: str, *, tcp: bool) -> str:
        query = dns.query.tcp if tcp else dns.query.udp
        reply = query(dns.message.make_query(question, "A"), "127.0.0.1", timeout=5)
        return " ".join(str(rrset[0]) for rrset in reply.answer)

    async def both() -> tuple[str, str]:
        question = "svc-a.default.svc.cluster.local."
        udp = await asyncio.to_thread(netns.call_in, name, ask, question, tcp=False)
        return udp, await asyncio.to_thread(netns.call_in, name, ask, question, tcp=True)

    async def body() -> tuple[tuple[str, str], tuple[str, str]]:
        async with lab.agent() as agent:
            assert (await agent.converge()).servers == 2
            before = await both()
            lab.cluster = replace(
                lab.cluster, services=(service,), namespaces=(Namespace("default"),)
            )
            await agent.converge()
            return before, await both()

    assert asyncio.run(body()) == (("", ""), ("10.96.0.7", "10.96.0.7"))


def test_dns_server_that_nobody_asked_closes_its_sockets(lab: ScratchLab) -> None:
    from dataclasses import replace

    lab.make_netns("kube-system.coredns-1")
    ports = (ContainerPort(53, protocol=Protocol.UDP), ContainerPort(53))
    container = Container("coredns", ports)
    labels = {"k8s-app": "kube-dns"}
    dns_pod = replace(pod("coredns-1", container), namespace="kube-system", labels=labels)

    async def body() -> tuple[set[str], set[str]]:
        async with lab.agent() as agent:
            before = _sockets()
            lab.want(dns_pod)
            assert (await agent.converge()).servers == 2
            lab.want()
            assert (await agent.converge()).servers == 0
            return before, _sockets()

    before, after = asyncio.run(body())
    assert after == before


def test_health_check_port_follows_the_ready_endpoints_of_its_node(lab: ScratchLab) -> None:
    from dataclasses import replace
    from ipaddress import ip_address

    name = lab.make_netns("node1")
    service = Service(
        "shop",
        "web",
        type=ServiceType.LOAD_BALANCER,
        cluster_ips=(ip_address("10.96.0.9"),),
        external_traffic_policy=TrafficPolicy.LOCAL,
        health_check_node_port=32100,
    )

    def with_ready(*, ready: bool) -> Cluster:
        endpoint = Endpoint((ip_address("10.244.0.2"),), ready=ready, node_name="node1")
        part = EndpointSlice(
            "shop", "web-1", "web", IPFamily.IPV4, (EndpointPort(8080),), (endpoint,)
        )
        node = Node("node1", (ip_address("172.18.0.2"),))
        return replace(lab.cluster, nodes=(node,), services=(service,), endpoint_slices=(part,))

    async def body() -> list[tuple[int, int, str]]:
        seen = []
        async with lab.agent() as agent:
            for ready in (True, False, True):
                lab.cluster = with_ready(ready=ready)
                assert (await agent.converge()).servers == 2
                found = await asyncio.to_thread(
                    processes.run,
                    ["curl", "-si", "--max-time", "5", "127.0.0.1:32100/any"],
                    context=processes.Context(name),
                )
                head, _, page = found.stdout.partition("\r\n\r\n")
                lines = dict(line.split(": ", 1) for line in head.splitlines()[1:])
                status = int(head.split()[1])
                count = json.loads(page)["localEndpoints"]
                seen.append((status, count, lines["X-Load-Balancing-Endpoint-Weight"]))
        return seen

    assert asyncio.run(body()) == [(200, 1, "1"), (503, 0, "0"), (200, 1, "1")]


def test_sctp_is_served_or_its_absence_is_told(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", Container("web", (ContainerPort(9000, protocol=Protocol.SCTP),))))

    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", 9000))
            sock.send(b"hostname")
            return sock.recv(100)

    async def body() -> tuple[Converged, bytes]:
        async with lab.agent() as agent:
            answer = await agent.converge()
            return answer, (await inside(name, ask)) if not answer.errors else b""

    answer, reply = asyncio.run(body())
    if has_sctp():
        assert (answer.servers, reply) == (1, b"b")
    else:
        assert answer.servers == 0
        assert [(item.message, item.hint) for item in answer.errors] == [
            ("this kernel has no SCTP", "modprobe sctp")
        ]


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError:
        return False
    return True


def test_hundreds_of_clients_at_once_are_all_answered(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", server(8080)))

    def crowd() -> set[bytes]:
        clients = [socket.create_connection(("127.0.0.1", 8080), 10) for _ in range(400)]
        for client in clients:
            client.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
        return {_read_all(client).rpartition(b"\r\n\r\n")[2] for client in clients}

    async def body() -> set[bytes]:
        async with lab.agent() as agent:
            await agent.converge()
            found: set[bytes] = await inside(name, crowd)
            return found

    assert asyncio.run(body()) == {b"b"}
