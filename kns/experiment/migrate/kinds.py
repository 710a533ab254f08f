"""The kinds of difference between two settings of kube-proxy, and what to do about each.

Sources: pkg/proxy/{iptables,ipvs,nftables}/proxier.go of the releases, and Kubernetes' "Virtual IPs
and Service Proxies", section "Migrating from iptables mode to nftables".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DifferenceKind(StrEnum):
    """What is different; the value is what `-o json` has."""

    LOCALHOST_NODE_PORT = "localhost-node-port"
    NODE_PORT_ADDRESS = "node-port-address"
    LOCAL_POLICY = "local-policy"
    NO_ENDPOINTS = "no-endpoints"
    ENDPOINT_CHOICE = "endpoint-choice"
    SOURCE_RANGES = "source-ranges"
    SOURCE_ADDRESS = "source-address"
    REMOTE_HAIRPIN = "remote-hairpin"
    EXTERNAL_IPS = "external-ips"
    UNUSED_PORT = "unused-port"
    PING = "ping"
    UNALLOCATED_ADDRESS = "unallocated-address"
    SESSION_AFFINITY = "session-affinity"
    SCHEDULER = "scheduler"
    STALE_UDP = "stale-udp"
    RULES_REFUSED = "rules-refused"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Advice:
    """What a kind is about: one line, the fields that decide, and what to do."""

    title: str
    fields: tuple[str, ...]
    remedy: str


ADVICE = {
    DifferenceKind.LOCALHOST_NODE_PORT: Advice(
        "node ports on 127.0.0.1",
        ("spec.ports[].nodePort", "iptables.localhostNodePorts"),
        "let what runs on nodes ask the node's own address, or the cluster IP",
    ),
    DifferenceKind.NODE_PORT_ADDRESS: Advice(
        "node ports on further addresses of a node",
        ("spec.ports[].nodePort", "nodePortAddresses"),
        "set nodePortAddresses to the networks that have to answer (0.0.0.0/0 and ::/0 for all)",
    ),
    DifferenceKind.LOCAL_POLICY: Advice(
        "a Local traffic policy where the node has no endpoint",
        ("spec.externalTrafficPolicy", "spec.internalTrafficPolicy"),
        "ask the cluster IP from inside; from outside only nodes that pass the health check",
    ),
    DifferenceKind.NO_ENDPOINTS: Advice(
        "a Service without endpoints",
        ("spec.selector",),
        "give it endpoints, or clients a timeout of their own",
    ),
    DifferenceKind.ENDPOINT_CHOICE: Advice(
        "which endpoints are used",
        ("spec.trafficDistribution", "endpoints[].hints", "service.kubernetes.io/topology-mode"),
        "see that each zone or node has endpoints enough, or take the field or annotation away",
    ),
    DifferenceKind.SOURCE_RANGES: Advice(
        "who is let in by loadBalancerSourceRanges",
        ("spec.loadBalancerSourceRanges",),
        "add the ranges of those who have to get in",
    ),
    DifferenceKind.SOURCE_ADDRESS: Advice(
        "the address that a backend sees of its client",
        ("masqueradeAll", "clusterCIDR", "spec.externalTrafficPolicy"),
        "look for backends that tell clients by their address, and for network policies",
    ),
    DifferenceKind.REMOTE_HAIRPIN: Advice(
        "an endpoint that is led back to itself by another node's node port",
        ("spec.externalTrafficPolicy", "ip-masq-agent's nonMasqueradeCIDRs"),
        "let pods ask the cluster IP, or have masqueraded what they send to nodes",
    ),
    DifferenceKind.EXTERNAL_IPS: Advice(
        "addresses in externalIPs",
        ("spec.externalIPs", "featureGates.AllowServiceExternalIPs"),
        "use a Service of type LoadBalancer",
    ),
    DifferenceKind.UNUSED_PORT: Advice(
        "ports of a cluster IP that no Service has",
        ("spec.ports",),
        "nothing, unless something else answered at these addresses",
    ),
    DifferenceKind.PING: Advice(
        "ping to a cluster IP",
        ("spec.clusterIP",),
        "let monitoring ask a port of the Service: a cluster IP is nobody's address",
    ),
    DifferenceKind.UNALLOCATED_ADDRESS: Advice(
        "addresses of the service subnet that no Service has",
        ("ServiceCIDR",),
        "nothing, unless the network routes a part of the service subnet to something else",
    ),
    DifferenceKind.SESSION_AFFINITY: Advice(
        "what a client with session affinity sticks to",
        ("spec.sessionAffinity", "spec.sessionAffinityConfig"),
        "don't let clients rely on one backend across ports, addresses or a pause",
    ),
    DifferenceKind.SCHEDULER: Advice(
        "how a backend is chosen",
        ("ipvs.scheduler",),
        "choose by a proxy of the application's own where connections are long or unequal",
    ),
    DifferenceKind.STALE_UDP: Advice(
        "UDP clients of a Service whose last endpoint goes",
        ("spec.ports[].protocol",),
        "let clients open a new socket when no answer comes",
    ),
    DifferenceKind.RULES_REFUSED: Advice(
        "a rule that nft refuses, and all others with it",
        ("metadata.name", "metadata.namespace", "spec.ports[].name", "detectLocalMode"),
        "shorten the name, or choose a release that cuts comments (1.37); InterfaceNamePrefix works"
        " in nftables mode since 1.33",
    ),
    DifferenceKind.OTHER: Advice("what becomes of a flow", (), "look at both reasons"),
}
