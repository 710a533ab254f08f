"""The last stage: whether somebody listens where the flow arrives. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.endpoints import serves_http
from kns.promise.flow import NO_WAY, REFUSED, Backend, Flow, Stage, Stop
from kns.promise.location import label
from kns.promise.lookup import Lookup

#: kube-proxy's --healthz-bind-address is 0.0.0.0:10256
PROXY_HEALTH_PORT = 10256


def owner(lookup: Lookup, flow: Flow) -> Backend | Stop:
    """Whom the flow reaches that goes straight to its destination."""
    address, port = flow.destination, flow.port
    if address.is_loopback:
        item = lookup.sender(flow.source)
        if isinstance(item, Node):
            pod = lookup.host_pod(item, port, flow.protocol)
            return Backend(label(pod or item), address, port, item.name, pod)
        own = item if isinstance(item, Pod) else None
        return Backend(flow.source.label, address, port, "", own)
    if any(address in known for known in (lookup.pods, lookup.node_addresses, lookup.hosts)):
        return lookup.backend(address, port, flow.protocol)
    return Stop(Stage.ROUTE, NO_WAY, f"nobody in the lab has {address}")


def deliver(lookup: Lookup, flow: Flow, backends: Sequence[Backend]) -> Stop | None:
    """Why nobody answers; None: each of the backends does. No outcome: it can't be told."""
    listening = {_listens(lookup, backend, flow.protocol) for backend in backends}
    if listening == {False}:
        targets = in_words([f"{backend.name}:{backend.port}" for backend in backends])
        reason = f"it leads to {targets}, where nothing listens"
        return Stop(Stage.DELIVER, REFUSED, reason)
    if listening != {True}:
        reason = "who answers can't be read from some of its endpoints"
        return Stop(Stage.DELIVER, (), reason)
    return None


def _listens(lookup: Lookup, backend: Backend, protocol: Protocol) -> bool | None:
    if backend.port is None:
        return True
    if backend.pod is not None:
        return serves_http(backend.pod, backend.port, protocol)
    host = lookup.hosts.get(backend.address)
    if host is not None:
        return True if backend.port == host.port and protocol is Protocol.TCP else None
    node = lookup.node_addresses.get(backend.address)
    return None if node is None else _node_listens(lookup, node, backend.port)


def _node_listens(lookup: Lookup, node: Node, port: int) -> bool | None:
    """Whether something but a declared port of a pod listens there; None: a program might."""
    server = lookup.cluster.api_server
    if server is not None and (node.name, port) == (server.node, server.port):
        return True
    if any(service.health_check_node_port == port for service in lookup.cluster.services):
        return True
    runs_programs = any(
        pod.host_network and container.command
        for pod in lookup.cluster.pods_on(node.name)
        for container in pod.containers
    )
    return None if runs_programs or port == PROXY_HEALTH_PORT else False


def in_words(names: Sequence[str]) -> str:
    """`a, b and c`; of many the first three and how many more."""
    unique = tuple(dict.fromkeys(names))
    if len(unique) > 5:
        return f"{', '.join(unique[:3])} and {len(unique) - 3} more"
    if len(unique) == 1:
        return unique[0]
    return f"{', '.join(unique[:-1])} and {unique[-1]}"
