"""UDP flows that were answered no more at the end, and where conntrack still sends them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.compile.names import netns_of_node
from kns.kernel import connections
from kns.kinds.service import Service
from kns.probe.load.model import Exchange, Kind
from kns.probe.target import Target

#: so many datagrams in a row without a reply at the end of the run
IN_A_ROW = 5


def stale_flows(cluster: Cluster, goal: Target, exchanges: Sequence[Exchange]) -> tuple[str, ...]:
    """A sentence for each node that keeps flows at an address that is no endpoint any more."""
    if goal.service is None or not _lost_flows(exchanges):
        return ()
    return tuple(_notes(cluster, goal, endpoint_addresses(cluster, goal.service)))


def _lost_flows(exchanges: Sequence[Exchange]) -> frozenset[int]:
    """The flows whose last datagrams all were lost."""
    flows: dict[int, list[bool]] = {}
    for item in exchanges:
        if item.kind is Kind.FLOW:
            flows.setdefault(item.stream, []).append(item.answered)
    return frozenset(number for number, found in flows.items() if not any(found[-IN_A_ROW:]))


def endpoint_addresses(cluster: Cluster, service: Service) -> frozenset[IPAddress]:
    """The addresses of all endpoints of a service, whatever their conditions."""
    name = (service.namespace, service.name)
    return frozenset(
        address
        for item in cluster.endpoint_slices
        if (item.namespace, item.service) == name
        for endpoint in item.endpoints
        for address in endpoint.addresses
    )


def _notes(cluster: Cluster, goal: Target, living: frozenset[IPAddress]) -> Iterator[str]:
    for node in cluster.nodes:
        found: dict[IPAddress, int] = {}
        for entry in connections.list_connections(netns_of_node(cluster.name, node.name)):
            asked = (entry.original.destination, entry.original.destination_port)
            backend = entry.reply.source
            if entry.protocol != "udp" or asked != (goal.address, goal.port):
                continue
            if backend not in living and backend != goal.address:
                found[backend] = found.get(backend, 0) + 1
        for backend, count in sorted(found.items(), key=lambda item: int(item[0])):
            entries = f"{count} entr{'ies' if count > 1 else 'y'}"
            why = f"kube-proxy {cluster.network.kube_proxy.version} does not delete them"
            if cluster.faults.written.no_conntrack_cleanup:
                why = "the lab has no clean-up of conntrack"
            yield (
                f"{node.name}'s conntrack still leads UDP flows ({entries}) to {backend}, which is"
                f" no endpoint any more: {why}"
            )
