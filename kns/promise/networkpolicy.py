"""NetworkPolicies as an oracle: which isolate a pod, which rule lets a connection through. Pure.

A pod is isolated in a direction if a policy of its namespace that has that direction among its
policyTypes selects it. Then a connection passes only if a rule of one of those policies fits its
other end and its port: the rules add up, their order means nothing, none of them denies. Whoever
is not isolated lets everything pass. A connection needs both sides: egress at its source and
ingress at its destination.

ICMP is none of the protocols that a policy names. An echo request passes by a rule without ports,
which allows whatever its peers send, and by no other.

A pod in the host network is its node: no policy selects it, and to others it is an address.

Source: kubernetes.io/docs/concepts/services-networking/network-policies, the API's own comments
(k8s.io/api networking/v1 types.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.kinds.common import Labels, Protocol
from kns.kinds.namespace import Namespace
from kns.kinds.networkpolicy import (
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicyRule,
    PolicyType,
)
from kns.kinds.pod import Pod
from kns.promise.location import label


@dataclass(frozen=True, slots=True)
class RemoteEnd:
    """The other end of a connection as a pod's node sees it: its address, and whose pod that is."""

    address: IPAddress
    pod: Pod | None = None


@dataclass(frozen=True, slots=True)
class DestinationPort:
    """Where a connection goes to: protocol and port, and the pod that names its ports.

    Without `port` it is an echo request.
    """

    port: int | None
    protocol: Protocol = Protocol.TCP
    pod: Pod | None = None

    @property
    def words(self) -> str:
        """`TCP 80`, or `ICMP`."""
        return "ICMP" if self.port is None else f"{self.protocol} {self.port}"


@dataclass(frozen=True, slots=True)
class AllowingRule:
    """A rule of a policy, by its place in it."""

    policy: NetworkPolicy
    direction: PolicyType
    index: int

    @property
    def rule(self) -> NetworkPolicyRule:
        """The rule itself."""
        return self.policy.rules(self.direction)[self.index]

    @property
    def label(self) -> str:
        """`shop/db ingress[0]`."""
        return f"{self.policy.full_name} {self.direction.lower()}[{self.index}]"

    @property
    def words(self) -> str:
        """The label with the rule's line."""
        place = self.rule.place
        return f"{self.label} ({place})" if place else self.label


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policies that isolate `pod` say of one connection; without `rule` it is denied."""

    direction: PolicyType
    pod: Pod
    remote: RemoteEnd
    port: DestinationPort
    policies: tuple[NetworkPolicy, ...]
    rule: AllowingRule | None = None

    @property
    def isolation(self) -> str:
        """Which policies isolate the pod, with their lines."""
        shown = [_with_place(policy) for policy in self.policies[:3]]
        more = f" and {len(self.policies) - 3} more" if len(self.policies) > 3 else ""
        return f"{', '.join(shown)}{more}"

    @property
    def reason(self) -> str:
        """Which rule allows it, or that none does."""
        if self.rule is not None:
            return f"{self.direction.lower()} of {label(self.pod)} allowed by {self.rule.words}"
        one = len(self.policies) == 1
        who = "NetworkPolicy" if one else "NetworkPolicies"
        remote = str(self.remote.address) if self.remote.pod is None else label(self.remote.pod)
        return (
            f"{who} {self.isolation} isolate{'s' * one} {label(self.pod)} for"
            f" {self.direction.lower()}, and no rule allows {remote} on {self.port.words}"
        )


def _with_place(policy: NetworkPolicy) -> str:
    return f"{policy.full_name} ({policy.place})" if policy.place else policy.full_name


class PolicyIndex:
    """The policies of some namespaces over some pods."""

    def __init__(
        self,
        pods: Iterable[Pod],
        namespaces: Iterable[Namespace],
        policies: Iterable[NetworkPolicy],
    ) -> None:
        #: a pod in the host network has its node's addresses: policies neither select nor mean it
        self._pods = tuple(pod for pod in pods if not pod.host_network)
        self._labels: Mapping[str, Labels] = {item.name: item.labels for item in namespaces}
        self._policies: dict[str, list[NetworkPolicy]] = {}
        for policy in policies:
            self._policies.setdefault(policy.namespace, []).append(policy)
        self._isolating: dict[tuple[str, PolicyType], tuple[NetworkPolicy, ...]] = {}
        #: full names of the pods that a peer means, by its policy's namespace and its identity
        self._peers: dict[tuple[str, int], frozenset[str]] = {}

    def isolating(self, pod: Pod, direction: PolicyType) -> tuple[NetworkPolicy, ...]:
        """The policies that isolate the pod in that direction."""
        if pod.host_network:
            return ()
        key = (pod.full_name, direction)
        found = self._isolating.get(key)
        if found is None:
            found = self._isolating[key] = tuple(
                policy
                for policy in self._policies.get(pod.namespace, ())
                if direction in policy.policy_types and policy.pod_selector.matches(pod.labels)
            )
        return found

    def ruling(
        self, direction: PolicyType, pod: Pod, remote: RemoteEnd, port: DestinationPort
    ) -> Ruling | None:
        """What the policies say of a connection between `pod` and `remote`; None: not isolated."""
        policies = self.isolating(pod, direction)
        if not policies:
            return None
        for policy in policies:
            for index, rule in enumerate(policy.rules(direction)):
                if self._fits(rule, policy.namespace, remote, port):
                    allowing = AllowingRule(policy, direction, index)
                    return Ruling(direction, pod, remote, port, policies, allowing)
        return Ruling(direction, pod, remote, port, policies)

    def fits(
        self, allowing: AllowingRule, remote: RemoteEnd, port: DestinationPort
    ) -> tuple[bool, bool]:
        """Whether the rule's peers have the other end, and whether its ports have the port."""
        rule, namespace = allowing.rule, allowing.policy.namespace
        return self._is_among(rule, namespace, remote), _has_port(rule, port)

    def _fits(
        self, rule: NetworkPolicyRule, namespace: str, remote: RemoteEnd, port: DestinationPort
    ) -> bool:
        return _has_port(rule, port) and self._is_among(rule, namespace, remote)

    def _is_among(self, rule: NetworkPolicyRule, namespace: str, remote: RemoteEnd) -> bool:
        return not rule.peers or any(self._is_peer(peer, namespace, remote) for peer in rule.peers)

    def _is_peer(self, peer: NetworkPolicyPeer, namespace: str, remote: RemoteEnd) -> bool:
        block, address = peer.ip_block, remote.address
        if block is not None:
            inside = address.version == block.cidr.version and address in block.cidr
            return inside and not any(address in cidr for cidr in block.excluded)
        return remote.pod is not None and remote.pod.full_name in self._pods_of(peer, namespace)

    def _pods_of(self, peer: NetworkPolicyPeer, namespace: str) -> frozenset[str]:
        key = (namespace, id(peer))
        found = self._peers.get(key)
        if found is None:
            found = self._peers[key] = frozenset(
                pod.full_name for pod in self._pods if self._selects(peer, namespace, pod)
            )
        return found

    def _selects(self, peer: NetworkPolicyPeer, namespace: str, pod: Pod) -> bool:
        if peer.namespace_selector is None:
            in_namespace = pod.namespace == namespace
        else:
            in_namespace = peer.namespace_selector.matches(self._labels.get(pod.namespace, {}))
        return in_namespace and (peer.pod_selector is None or peer.pod_selector.matches(pod.labels))


def _has_port(rule: NetworkPolicyRule, port: DestinationPort) -> bool:
    return not rule.ports or any(_is_port(item, port) for item in rule.ports)


def _is_port(wanted: NetworkPolicyPort, port: DestinationPort) -> bool:
    """A name is looked up at the destination, whichever side the policy is on."""
    if port.port is None or wanted.protocol is not port.protocol:
        return False
    match wanted.port:
        case None:
            return True
        case int(first):
            return first <= port.port <= (wanted.end_port or first)
        case name:
            return port.port in named_ports(port.pod, name, port.protocol)


def named_ports(pod: Pod | None, name: str, protocol: Protocol) -> frozenset[int]:
    """The numbers of a pod's ports of that name and protocol."""
    if pod is None:
        return frozenset()
    return frozenset(
        item.port
        for container in pod.containers
        for item in container.ports
        if (item.name, item.protocol) == (name, protocol)
    )
