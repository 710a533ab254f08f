"""What two settings of kube-proxy promise differently of a cluster's Services. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.compile.proxy.release import deletes_stale_udp
from kns.experiment.migrate.flows import ENDPOINT, Case, service_cases, telling_nodes
from kns.experiment.migrate.kinds import DifferenceKind
from kns.experiment.setting import ProxySetting
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.service import Service, SessionAffinity, TrafficPolicy
from kns.promise.deliver import in_words
from kns.promise.facts import ProxyFacts, proxy_facts
from kns.promise.flow import Flow, FrontendKind, Outcome, Promise, Stage
from kns.promise.location import Location, label
from kns.promise.lookup import Lookup
from kns.promise.promise import promise, promise_at
from kns.promise.refused_rules import is_commented


@dataclass(frozen=True, slots=True)
class BehaviourChange:
    """What is different, for whom, and why. `service` is empty where it concerns the cluster."""

    kind: DifferenceKind
    service: str
    frontend: str
    client: str
    before: str
    after: str
    #: the nodes, of those looked at, where it is so
    nodes: tuple[str, ...] = ()
    #: a flow that shows it, if one does that somebody in the cluster can send
    flow: Flow | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Sides:
    """The same cluster in both settings."""

    before: Lookup
    after: Lookup

    @staticmethod
    def of(cluster: Cluster, before: ProxySetting, after: ProxySetting) -> Sides:
        """The cluster under the one and under the other setting."""
        return Sides(Lookup(before.cluster(cluster)), Lookup(after.cluster(cluster)))

    @property
    def facts(self) -> tuple[ProxyFacts, ProxyFacts]:
        """What the rules of each do."""
        return proxy_facts(self.before.cluster), proxy_facts(self.after.cluster)


def differences(sides: Sides, nodes: Sequence[Node] = ()) -> tuple[BehaviourChange, ...]:
    """Every difference, those of the cluster first; at `nodes`, by default at telling ones."""
    found = [*_of_cluster(sides, nodes)]
    for service in sides.before.cluster.services:
        found += _of_service(sides, service, nodes or telling_nodes(sides.before, service))
    return _merged(found)


def _merged(found: Iterable[BehaviourChange]) -> tuple[BehaviourChange, ...]:
    """Each once, with all nodes where it is so."""
    merged: dict[BehaviourChange, list[str]] = {}
    for item in found:
        merged.setdefault(replace(item, nodes=()), []).extend(item.nodes)
    return tuple(replace(item, nodes=tuple(dict.fromkeys(nodes))) for item, nodes in merged.items())


# -- of a Service ----------------------------------------------------------------------------------


def _of_service(sides: Sides, service: Service, nodes: Sequence[Node]) -> Iterator[BehaviourChange]:
    for case in service_cases(sides.before, service, nodes):
        before, after = (_promise(lookup, case) for lookup in (sides.before, sides.after))
        if _effect(before) != _effect(after):
            yield BehaviourChange(
                _kind(case, before, after),
                service.full_name,
                case.frontend.label,
                case.client.label,
                _words(before, case.node),
                _words(after, case.node),
                (case.node.name,),
                case.flow if _can_be_sent(case) else None,
            )
    if service.cluster_ips:
        yield from _by_facts(sides, service)


def _can_be_sent(case: Case) -> bool:
    """Whether the client itself reaches the node: what brings others there is no part of a lab.

    The world routes a node's own address; cni0's is known in the cluster alone.
    """
    if case.frontend.is_other_address:
        return not case.client.from_outside
    return case.frontend.kind is FrontendKind.NODE_PORT or not case.client.from_outside


def _promise(lookup: Lookup, case: Case) -> Promise:
    if case.client.from_outside:
        return promise_at(lookup, case.flow, case.node)
    return promise(lookup, case.flow)


def _effect(found: Promise) -> tuple[object, ...]:
    """What a client or a backend can tell apart."""
    if found.stop is not None:
        return (found.outcomes,)
    return found.outcomes, frozenset(found.names), frozenset(found.sources)


def _words(found: Promise, node: Node) -> str:
    """The outcome and its reason, in words that don't depend on the node."""
    if found.stop is not None and found.stop.stage is Stage.ROUTE:
        return "does not get there: no rule matches, and it leaves by the default route"
    if found.stop is not None:
        words = {
            (Outcome.REFUSED,): "refused",
            (Outcome.TIMEOUT,): "no answer",
            (): "can't be told",
        }.get(found.outcomes, "does not get there")
        return f"{words}: {_about_the_node(found.stop.reason, node)}"
    names = tuple(sorted(found.names))
    sources = in_words([str(address) for address in found.sources])
    answered = f"answered by {in_words(names)}, who see {sources}"
    if not found.denied:
        return answered
    lost = in_words(sorted({item.backend.name for item in found.denied}))
    return f"{answered}; whoever is led to {lost} gets no answer"


def _about_the_node(reason: str, node: Node) -> str:
    """The reason without the node's name, which may be a part of other words."""
    return re.sub(rf"(?<![\w.-]){re.escape(node.name)}(?![\w-])", "the node", reason)


def _kind(case: Case, before: Promise, after: Promise) -> DifferenceKind:
    kinds = (
        (_stops(before, after, Stage.RULES), DifferenceKind.RULES_REFUSED),
        (case.flow.destination.is_loopback, DifferenceKind.LOCALHOST_NODE_PORT),
        (case.frontend.is_other_address, DifferenceKind.NODE_PORT_ADDRESS),
        (_is_led_back(case, before, after), DifferenceKind.REMOTE_HAIRPIN),
        (_stops(before, after, Stage.POLICY), DifferenceKind.SOURCE_RANGES),
        (_is_unlisted_external(case, before, after), DifferenceKind.EXTERNAL_IPS),
        (_is_local(case) and _has_stop(before, after), DifferenceKind.LOCAL_POLICY),
        (_both_stop(before, after), DifferenceKind.NO_ENDPOINTS),
        (_is_local(case) and before.names != after.names, DifferenceKind.LOCAL_POLICY),
        (before.names != after.names, DifferenceKind.ENDPOINT_CHOICE),
        (before.sources != after.sources, DifferenceKind.SOURCE_ADDRESS),
    )
    return next((kind for holds, kind in kinds if holds), DifferenceKind.OTHER)


def _stops(before: Promise, after: Promise, stage: Stage) -> bool:
    return any(p.stop is not None and p.stop.stage is stage for p in (before, after))


def _has_stop(before: Promise, after: Promise) -> bool:
    return before.stop is not None or after.stop is not None


def _both_stop(before: Promise, after: Promise) -> bool:
    return before.stop is not None and after.stop is not None


def _is_led_back(case: Case, before: Promise, after: Promise) -> bool:
    """Whether the client, an endpoint of another node, may be led to itself in both."""
    own = case.client.location.item
    led_to = (
        [item.backend.pod for item in found.answers] + [item.backend.pod for item in found.denied]
        for found in (before, after)
    )
    return case.client.label == ENDPOINT and all(own in pods for pods in led_to)


def _is_unlisted_external(case: Case, before: Promise, after: Promise) -> bool:
    is_external = case.frontend.kind is FrontendKind.EXTERNAL_IP
    return is_external and (before.frontend is None) != (after.frontend is None)


def _is_local(case: Case) -> bool:
    of_cluster_ip = case.frontend.kind is FrontendKind.CLUSTER_IP
    service = case.service
    policy = service.internal_traffic_policy if of_cluster_ip else service.external_traffic_policy
    return policy is TrafficPolicy.LOCAL


def refuses_orphaned_udp(cluster: Cluster) -> bool:
    """Whether a UDP client that keeps its socket is refused when the last endpoint goes.

    By what kube-proxy deletes of conntrack; in IPVS mode in any release, since IPVS ends a
    connection to a real server that is gone with its next packet.
    """
    by_conntrack = deletes_stale_udp(cluster.network.kube_proxy.version)
    return by_conntrack or proxy_facts(cluster).looks_up_orphaned_flows


# -- what no single flow shows ---------------------------------------------------------------------


def _by_facts(sides: Sides, service: Service) -> Iterator[BehaviourChange]:
    def told(kind: DifferenceKind, client: str, words: Callable[[Lookup], str]) -> BehaviourChange:
        before, after = words(sides.before), words(sides.after)
        return BehaviourChange(kind, service.full_name, label(service), client, before, after)

    found = [told(DifferenceKind.SCHEDULER, "all clients", _scheduler)]
    if service.session_affinity is SessionAffinity.CLIENT_IP:
        found.append(told(DifferenceKind.SESSION_AFFINITY, "clients that come back", _affinity))
    if any(port.protocol is Protocol.UDP for port in service.ports):
        found.append(told(DifferenceKind.STALE_UDP, "clients that keep a socket", _stale_udp))
    refused = told(DifferenceKind.RULES_REFUSED, "everybody", lambda side: _comment(side, service))
    cases = service_cases(sides.before, service, sides.before.cluster.nodes)
    flow = next((c.flow for c in cases if c.frontend.kind is FrontendKind.CLUSTER_IP), None)
    found.append(replace(refused, flow=flow))
    yield from (item for item in found if item.before != item.after)


def _affinity(lookup: Lookup) -> str:
    facts = proxy_facts(lookup.cluster)
    scope = "an endpoint, by whichever address of the Service they come"
    if facts.affinity_by_address:
        scope = "a backend for each address and port of the Service by itself"
    longer = ", while a closed connection is remembered, too"
    return f"they stick to {scope}{longer if facts.affinity_outlives_timeout else ''}"


def _scheduler(lookup: Lookup) -> str:
    options = lookup.cluster.network.kube_proxy
    if not proxy_facts(lookup.cluster).has_schedulers:
        return "each connection goes to an endpoint by chance"
    return f"the scheduler {options.ipvs.scheduler} chooses the endpoint"


def _stale_udp(lookup: Lookup) -> str:
    if refuses_orphaned_udp(lookup.cluster):
        return "when the last endpoint goes what leads to it goes with it: refused"
    return "when the last endpoint goes they are led to it until their conntrack entries expire"


def _comment(lookup: Lookup, service: Service) -> str:
    is_refused = any(
        is_commented(lookup, item, port, node, family)
        for item, port in lookup.ports_with_refused_names
        if item.full_name == service.full_name
        for family in item.ip_families
        for node in lookup.cluster.nodes
    )
    if not is_refused:
        return "its rules are loaded"
    return "nft refuses the comment, and with it every rule of every Service"


# -- of the cluster --------------------------------------------------------------------------------


def _of_cluster(sides: Sides, nodes: Sequence[Node]) -> Iterator[BehaviourChange]:
    """What is asked at an address of a Service, or of the service subnet, but of none of them."""
    cluster = sides.before.cluster
    node = (nodes or cluster.nodes)[0]
    source = Location(next(iter(reversed(cluster.pods_on(node.name))), node))
    for family in cluster.network.families:
        service = next((s for s in cluster.services if s.cluster_ip(family)), None)
        address = service.cluster_ip(family) if service is not None else None
        if service is None or address is None or node.address(family) is None:
            continue
        taken = {port.port for item in cluster.services for port in item.ports}
        free = next(number for number in range(1024, 65_536) if number not in taken)
        asked = [
            (DifferenceKind.UNUSED_PORT, Flow(source, address, free), "a port that no Service has"),
            (DifferenceKind.PING, Flow(source, address), "ping to a cluster IP"),
        ]
        nobody = _unallocated(sides.after, family)
        if nobody is not None:
            words = "an address of the service subnet that no Service has"
            asked.append((DifferenceKind.UNALLOCATED_ADDRESS, Flow(source, nobody, free), words))
        for kind, flow, words in asked:
            before, after = promise(sides.before, flow), promise(sides.after, flow)
            if _effect(before) != _effect(after):
                told = (_words(before, node), _words(after, node))
                yield BehaviourChange(
                    kind, "", words, f"pods and nodes, {family}", *told, flow=flow
                )


def _unallocated(lookup: Lookup, family: IPFamily) -> IPAddress | None:
    cidrs = (c for c in lookup.cluster.network.service_cidrs if c.version == family.version)
    cidr = next(cidrs, None)
    if cidr is None:
        return None
    addresses = (cidr[-n] for n in range(2, min(cidr.num_addresses, 10_000)))
    return next((a for a in addresses if lookup.has_service(a) is None), None)
