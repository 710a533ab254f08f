"""The end of a session affinity: after its timeout the choice is made anew. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, SessionAffinity, TrafficPolicy
from kns.promise import sampling
from kns.promise.check import AffinityExpiry, Check, Skip, Step
from kns.promise.endpoints import workloads
from kns.promise.facts import proxy_facts
from kns.promise.flow import Flow, port_label
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.steps import Title, title_check

#: a session affinity that lasts longer than this is not waited for
AFFINITY_PATIENCE = 10
#: what all rounds of waiting for an affinity may take, in seconds
EXPIRY_BUDGET = 40
#: the probability with which a sound lab may fail the affinity's expiry
MISS = 1e-6


def expiry(
    lookup: Lookup, service: Service, port: ServicePort, family: IPFamily
) -> Iterator[Check | Skip]:
    """The check that waits for the affinity's end, or why it isn't waited for."""
    address = service.cluster_ip(family)
    if service.session_affinity is not SessionAffinity.CLIENT_IP or address is None:
        return
    cluster = lookup.cluster
    what = f"{port_label(service, port)}: end of the session affinity"
    endpoints = lookup.endpoints(service, port, family)
    backends = {
        backend.address
        for node in cluster.nodes
        for backend in endpoints.at(node).cluster
        if backend.pod is not None
    }
    clients = sampling.spread(
        [pod for pod in workloads(cluster) if pod.address(family)], sampling.FULL_MESH
    )
    reason = _cannot_expire(cluster, service, port, len(backends), clients)
    if reason:
        yield Skip(what, reason)
        return
    seconds = service.session_affinity_timeout
    rounds = math.ceil(math.log(MISS) / (-len(clients) * math.log(len(backends))))
    if rounds * (seconds + 1) > EXPIRY_BUDGET:
        yield Skip(what, f"{rounds} waits of {seconds} s would take too long")
        return
    flows = (Flow(Location(pod), address, port.port) for pod in clients)
    if reason := next(filter(None, (promise(lookup, flow).kept_out for flow in flows)), ""):
        yield Skip(what, f"some clients don't reach some backends: {reason}")
        return
    first, *others = map(Location, clients)
    ask = AffinityExpiry(address, port.port, seconds, rounds, tuple(others))
    expected = (
        f"after {seconds} s of silence the backend is chosen anew:"
        f" {len(clients)} clients, up to {rounds} rounds, one of them must move"
    )
    suffix = sampling.family_suffix(cluster, family)
    title = Title("pod-to-service", "affinity-expires", port_label(service, port), suffix)
    yield title_check(title, Flow(first, address, port.port), expected, Step(ask))


def _cannot_expire(
    cluster: Cluster, service: Service, port: ServicePort, backends: int, clients: tuple[Pod, ...]
) -> str:
    if port.protocol is not Protocol.TCP:
        return "tried over TCP only"
    if backends < 2 or not clients or service.internal_traffic_policy is TrafficPolicy.LOCAL:
        return "it takes two backends to see a change"
    if proxy_facts(cluster).affinity_outlives_timeout:
        return "IPVS keeps a session while one of its connections is in TIME_WAIT (120 s)"
    if service.session_affinity_timeout > AFFINITY_PATIENCE:
        return f"it ends after {service.session_affinity_timeout} s: not waited for"
    return ""
