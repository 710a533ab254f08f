"""Which pods of a node are isolated, and what the rules of their policies let through. Pure.

Isolation    the pods of a node that the same policies isolate in one direction
  └─ Allowance   what one rule allows them: a protocol's ports, and addresses at the other end
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.cluster.selectors import PodIndex
from kns.compile.networkpolicy.spans import Span, of_block
from kns.kinds.common import Protocol
from kns.kinds.networkpolicy import (
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicyRule,
    PolicyType,
)
from kns.kinds.pod import Pod
from kns.kinds.selector import LabelSelector

ALL_PORTS = Span(0, 65535)


@dataclass(frozen=True, slots=True)
class RuleName:
    """A rule by its policy and its place in it."""

    policy: str
    direction: PolicyType
    index: int

    def __str__(self) -> str:
        return f"{self.policy} {self.direction.lower()}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a rule allows: with any of `remotes`, on `ports` of `protocol`.

    No protocol: whatever it is. `remotes` None: with anybody.
    """

    rule: RuleName
    protocol: Protocol | None
    ports: Span
    remotes: tuple[Span, ...] | None


@dataclass(frozen=True, slots=True)
class Isolation:
    """Pods of a node that the same policies isolate, with what these allow."""

    direction: PolicyType
    policies: tuple[str, ...]
    #: what the policies' named ports are at these pods: the same policies may mean several things
    named: tuple[tuple[str, Protocol, int], ...]
    pods: tuple[Pod, ...]
    allowances: tuple[Allowance, ...]


class Access:
    """The policies of a cluster as one node applies them to its own pods."""

    def __init__(self, cluster: Cluster, local: Iterable[Pod]) -> None:
        self._cluster = cluster
        self._local = _Choice(cluster, local)
        self._all = _Choice(cluster, cluster.pods)

    def isolations(self, direction: PolicyType, family: IPFamily) -> Iterator[Isolation]:
        """Groups of the node's isolated pods, in the order of their first pod."""
        groups: dict[tuple[object, ...], tuple[list[NetworkPolicy], list[Pod]]] = {}
        for pod, policies in self._isolated(direction):
            key = (
                tuple(policy.full_name for policy in policies),
                _named(policies, pod) if direction is PolicyType.INGRESS else (),
            )
            groups.setdefault(key, (policies, []))[1].append(pod)
        for policies, pods in groups.values():
            named = _named(policies, pods[0]) if direction is PolicyType.INGRESS else ()
            yield Isolation(
                direction,
                tuple(policy.full_name for policy in policies),
                named,
                tuple(pods),
                tuple(self._allowances(direction, policies, pods[0], family)),
            )

    def _isolated(self, direction: PolicyType) -> Iterator[tuple[Pod, list[NetworkPolicy]]]:
        """The node's pods that a policy isolates, each with all that do."""
        found: dict[str, list[NetworkPolicy]] = {}
        for policy in self._cluster.network_policies:
            if direction in policy.policy_types:
                for pod in self._local.of(policy.namespace, policy.pod_selector):
                    found.setdefault(pod.full_name, []).append(policy)
        for pod in self._local.pods:
            if pod.full_name in found:
                yield pod, found[pod.full_name]

    def _allowances(
        self, direction: PolicyType, policies: list[NetworkPolicy], pod: Pod, family: IPFamily
    ) -> Iterator[Allowance]:
        for policy in policies:
            for index, rule in enumerate(policy.rules(direction)):
                name = RuleName(policy.full_name, direction, index)
                yield from self._of_rule(name, rule, policy.namespace, pod, family)

    def _of_rule(
        self, name: RuleName, rule: NetworkPolicyRule, namespace: str, pod: Pod, family: IPFamily
    ) -> Iterator[Allowance]:
        remotes = tuple(self._remotes(rule, namespace, family)) if rule.peers else None
        if remotes == ():
            return  # peers of which there are none in this family
        if not rule.ports:
            yield Allowance(name, None, ALL_PORTS, remotes)
        for port in rule.ports:
            if not isinstance(port.port, str):
                yield Allowance(name, port.protocol, _span(port), remotes)
            elif name.direction is PolicyType.INGRESS:
                for number in _numbers(pod, port.port, port.protocol):
                    yield Allowance(name, port.protocol, Span(number, number), remotes)
            else:
                yield from self._by_name(name, port.port, port.protocol, remotes, family)

    def _by_name(
        self,
        name: RuleName,
        port: str,
        protocol: Protocol,
        remotes: tuple[Span, ...] | None,
        family: IPFamily,
    ) -> Iterator[Allowance]:
        """Egress to a named port: at each destination it may be another number."""
        by_number: dict[int, list[Span]] = {}
        for pod in self._all.pods:
            for number in _numbers(pod, port, protocol):
                for own in _addresses(pod, family):
                    if remotes is None or any(s.first <= own.first <= s.last for s in remotes):
                        by_number.setdefault(number, []).append(own)
        for number, spans in sorted(by_number.items()):
            yield Allowance(name, protocol, Span(number, number), tuple(spans))

    def _remotes(self, rule: NetworkPolicyRule, namespace: str, family: IPFamily) -> Iterator[Span]:
        for peer in rule.peers:
            if peer.ip_block is not None:
                if peer.ip_block.cidr.version == family.version:
                    note = f"ipBlock {peer.ip_block.cidr}"
                    yield from of_block(peer.ip_block.cidr, peer.ip_block.excluded, note)
                continue
            for pod in self._pods_of(peer, namespace):
                yield from _addresses(pod, family)

    def _pods_of(self, peer: NetworkPolicyPeer, namespace: str) -> Iterator[Pod]:
        selector = peer.pod_selector or LabelSelector()
        if peer.namespace_selector is None:
            yield from self._all.of(namespace, selector)
            return
        for item in self._cluster.namespaces:
            if peer.namespace_selector.matches(item.labels):
                yield from self._all.of(item.name, selector)


class _Choice:
    """Pods to choose from by namespace and labels; one in the host network is none of them."""

    def __init__(self, _cluster: Cluster, pods: Iterable[Pod]) -> None:
        self.pods = tuple(pod for pod in pods if not pod.host_network)
        self._index = PodIndex(self.pods)
        self._by_namespace: dict[str, list[Pod]] = {}
        for pod in self.pods:
            self._by_namespace.setdefault(pod.namespace, []).append(pod)

    def of(self, namespace: str, selector: LabelSelector) -> Iterable[Pod]:
        """The namespace's pods that the selector chooses; an empty one chooses them all."""
        found: Iterable[Pod] = self._by_namespace.get(namespace, ())
        if selector.match_labels:
            found = self._index.select(namespace, selector.match_labels)
        if not selector.match_expressions:
            return found
        return [pod for pod in found if selector.matches(pod.labels)]


def _addresses(pod: Pod, family: IPFamily) -> Iterator[Span]:
    address = pod.address(family)
    if address is not None:
        yield Span(int(address), int(address), f"pod {pod.full_name}")


def _span(port: NetworkPolicyPort) -> Span:
    if not isinstance(port.port, int):
        return ALL_PORTS
    return Span(port.port, port.end_port or port.port)


def _numbers(pod: Pod, name: str, protocol: Protocol) -> tuple[int, ...]:
    """The numbers of the pod's ports of that name."""
    return tuple(
        port.port
        for container in pod.containers
        for port in container.ports
        if (port.name, port.protocol) == (name, protocol)
    )


def _named(policies: Iterable[NetworkPolicy], pod: Pod) -> tuple[tuple[str, Protocol, int], ...]:
    """What the names of ports in the policies' rules for incoming traffic are at the pod."""
    names = {
        (port.port, port.protocol)
        for policy in policies
        for rule in policy.ingress
        for port in rule.ports
        if isinstance(port.port, str)
    }
    return tuple(
        sorted((name, protocol, number) for name, protocol in names
               for number in _numbers(pod, name, protocol))
    )  # fmt: skip
