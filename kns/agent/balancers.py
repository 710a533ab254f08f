"""Who takes the packets for LoadBalancer addresses at the moment: read, never remembered.

    l2      the nodes for which the speaker answers ARP and NDP
    bgp     the next hops of the routes that BIRD has put into the router's kernel
    proxy   the servers that HAProxy's health checks hold for up, as its own socket tells

`up` waits here until that is as it should be: BGP sessions and health checks take a second or two.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

from kns.agent.speaker import Speaker
from kns.cluster.load_balancer import announcements, elected, healthy_nodes, proxied
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.load_balancer import mode
from kns.compile.paths import LabPaths
from kns.compile.programs import haproxy
from kns.engine.orders import Failure
from kns.kernel import netns

#: seconds until an address must be taken by all nodes that should take it: a BGP session that was
#: lost comes back within three, HAProxy's health check is sure within three
PATIENCE = 10.0
#: seconds between two looks
_INTERVAL = 0.05
#: BIRD and HAProxy start while `up` waits: an answer of HAProxy that takes longer is none
_ANSWER = 1.0

Takers = Mapping[str, tuple[str, ...]]


class Balancers:
    """The lab's load balancer, whatever its mode: kept as the cluster wants it, and asked."""

    def __init__(self, worker: Executor) -> None:
        self._worker = worker
        self._speaker = Speaker(worker)
        self._cluster: Cluster | None = None

    async def converge(self, cluster: Cluster) -> tuple[Failure, ...]:
        """Serve the cluster as it is now; returns when every address is taken as it should be.

        What is not within `PATIENCE` seconds is a failure.
        """
        self._cluster = cluster
        await self._speaker.converge(cluster)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while (failures := self.failures(await self.takers())) and loop.time() < deadline:
            await asyncio.sleep(_INTERVAL)
        return failures

    def failures(self, takers: Takers) -> tuple[Failure, ...]:
        """The addresses whose takers are others than they should be."""
        return tuple(_failures(wanted_takers(self._cluster), takers)) if self._cluster else ()

    async def takers(self) -> Takers:
        """The nodes that take packets for each address now."""
        cluster = self._cluster
        if cluster is None:
            return {}
        match mode(cluster):
            case "l2":
                return {address: (node,) for address, node in self._speaker.owners.items()}
            case "bgp":
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._worker, _next_hops, cluster)
            case "proxy":
                return await _servers(cluster)
            case _:
                return {}

    def close(self) -> None:
        """Fall silent."""
        self._speaker.close()


def wanted_takers(cluster: Cluster) -> Takers:
    """The nodes that should take packets for each address, if all nodes are alive."""
    match mode(cluster):
        case "l2":
            names_of_nodes = [node.name for node in cluster.nodes]
            winners = ((a.address, elected(a, names_of_nodes)) for a in announcements(cluster))
            return {str(address): (node,) for address, node in winners if node is not None}
        case "bgp":
            return {str(a.address): a.eligible for a in announcements(cluster) if a.eligible}
        case "proxy":
            return {str(ip): healthy_nodes(cluster, service) for ip, service in proxied(cluster)}
        case _:
            return {}


def _failures(wanted: Takers, found: Takers) -> Iterator[Failure]:
    for address in {**wanted, **found}:
        should, do = set(wanted.get(address, ())), set(found.get(address, ()))
        if should != do:
            now = ", ".join(sorted(do)) or "no node"
            right = ", ".join(sorted(should)) or "no node"
            message = f"is taken by {now}; by right it is {right}"
            yield Failure(f"load balancer {address}", message, "kns up mends what is not as it was")


# -- bgp -------------------------------------------------------------------------------------------


def _next_hops(cluster: Cluster) -> Takers:
    # pyroute2 is a third of the agent's start, for which `up` waits, and only this needs it
    from kns.kernel import observe

    owners = {address: node.name for node in cluster.nodes for address in node.addresses}
    routes = netns.call_in(names.fabric_netns(cluster.name), observe.bird_routes_here)
    return {
        str(route.destination.network_address): tuple(
            owners[hop.gateway] for hop in route.hops if hop.gateway in owners
        )
        for route in routes
    }


# -- proxy -----------------------------------------------------------------------------------------


async def _servers(cluster: Cluster) -> Takers:
    """Servers whose check has not decided yet count as up, as HAProxy counts them."""
    answer = await _ask(haproxy.socket_path(LabPaths(cluster.name)), "show stat -1 4 -1")
    found: dict[str, list[str]] = {}
    for line in csv.DictReader(answer.removeprefix("# ").splitlines()):
        address = line["pxname"].rpartition("_")[2]
        nodes = found.setdefault(address, [])
        if line["status"].startswith("UP") and line["svname"] not in nodes:
            nodes.append(line["svname"])
    return {address: tuple(nodes) for address, nodes in found.items()}


async def _ask(path: Path, command: str) -> str:
    """What HAProxy's socket answers; nothing if it does not listen (yet)."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(f"{command}\n".encode())
                return (await reader.read()).decode(errors="replace")
            finally:
                writer.close()
    return ""
