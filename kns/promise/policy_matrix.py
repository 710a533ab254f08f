"""Which pods may connect to which, by the network policies alone. Pure.

    Contact    a source, a destination with a port, and what is decided at either end

Services, routes and listening servers play no part: whether a rule lets it through is all that is
asked. Two pods of two families are two contacts: an `ipBlock` is of one family.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from kns.addresses import IPFamily
from kns.cluster.policy_objects import PolicyObjects
from kns.kinds.common import Protocol
from kns.kinds.networkpolicy import NetworkPolicy, PolicyType
from kns.kinds.pod import Pod
from kns.promise.location import label
from kns.promise.networkpolicy import (
    AllowingRule,
    DestinationPort,
    PolicyIndex,
    RemoteEnd,
    Ruling,
    named_ports,
)

#: what a pod without an address is taken to have: it is in no block that somebody would write
_NOWHERE = ip_address("0.0.0.0")


@dataclass(frozen=True, slots=True)
class Contact:
    """A connection between two ends, and the rulings of those that are isolated."""

    source: RemoteEnd
    destination: RemoteEnd
    port: DestinationPort
    rulings: tuple[Ruling, ...]

    @property
    def allowed(self) -> bool:
        """True if no side denies it."""
        return all(ruling.rule is not None for ruling in self.rulings)

    @property
    def key(self) -> tuple[str, str, str]:
        """Its ends and port in words."""
        return end_label(self.source), end_label(self.destination), self.port.words

    @property
    def family(self) -> IPFamily | None:
        """The family of the addresses; None: neither end has one."""
        known = (end.address for end in (self.destination, self.source))
        return next((IPFamily.of(address) for address in known if address != _NOWHERE), None)

    def is_over(self, family: IPFamily | None) -> bool:
        """True if both have that family, or one of them none that is known."""
        return family is None or self.family is None or self.family is family

    @property
    def verdict(self) -> tuple[tuple[PolicyType, str], ...]:
        """What is decided and by which rules, whatever the family."""
        return tuple(
            (ruling.direction, ruling.rule.label if ruling.rule is not None else "")
            for ruling in self.rulings
        )

    def ruling(self, direction: PolicyType) -> Ruling | None:
        """What is decided in that direction; None: nobody is isolated."""
        return next((item for item in self.rulings if item.direction is direction), None)


def end_label(end: RemoteEnd) -> str:
    """A pod by its name, anybody else by the address."""
    return str(end.address) if end.pod is None else label(end.pod)


class PolicyMatrix:
    """The objects with their indexes."""

    def __init__(self, objects: PolicyObjects) -> None:
        self.objects = objects
        self._index = PolicyIndex(objects.pods, objects.namespaces, objects.policies)
        self._nodes = {a: name for name, addresses in objects.nodes.items() for a in addresses}

    def contacts(self, port: int | str | None, protocol: Protocol) -> Iterator[Contact]:
        """Every pair of different pods: at that port, or without one at each that is declared.

        Once for each family that both have. A destination without such a port is asked for an echo.
        """
        for source in self.objects.pods:
            for target in self.objects.pods:
                if source is not target:
                    ends = paired(pod_ends(source), pod_ends(target))
                    for wanted in ports_of(target, port, protocol):
                        yield from (self.contact(*pair, wanted) for pair in ends)

    def contact(self, source: RemoteEnd, target: RemoteEnd, port: DestinationPort) -> Contact:
        """What is decided of one connection."""
        return Contact(source, target, port, tuple(self._rulings(source, target, port)))

    def isolating(self, pod: Pod, direction: PolicyType) -> tuple[NetworkPolicy, ...]:
        """The policies that isolate the pod."""
        return self._index.isolating(pod, direction)

    def fits(self, ruling: Ruling, allowing: AllowingRule) -> tuple[bool, bool]:
        """Whether a rule's peers have the other end, and whether its ports have the port."""
        return self._index.fits(allowing, ruling.remote, ruling.port)

    def _rulings(
        self, source: RemoteEnd, target: RemoteEnd, port: DestinationPort
    ) -> Iterator[Ruling]:
        if is_same_pod(source, target) or self._is_own_node(source, target):
            return
        sides = (
            (PolicyType.EGRESS, source.pod, target),
            (PolicyType.INGRESS, target.pod, source),
        )
        for direction, pod, remote in sides:
            if pod is None:
                continue
            seen = remote
            if remote.pod is not None and remote.pod.host_network:
                seen = RemoteEnd(remote.address)
            found = self._index.ruling(direction, pod, seen, port)
            if found is not None:
                yield found

    def _is_own_node(self, source: RemoteEnd, target: RemoteEnd) -> bool:
        """Between a node, in whose network one of the two is, and its own pods all passes."""
        return any(
            other.pod is not None and bool(other.pod.node) and self._node_at(end) == other.pod.node
            for end, other in ((source, target), (target, source))
        )

    def _node_at(self, end: RemoteEnd) -> str:
        """The node whose own network the end is in; nothing: it is a pod's, or no node's."""
        if end.pod is None:
            return self._nodes.get(end.address, "")
        return end.pod.node if end.pod.host_network else ""


def is_same_pod(source: RemoteEnd, target: RemoteEnd) -> bool:
    """What a pod sends itself never leaves it."""
    return source.pod is not None and source.pod is target.pod


def ports_of(pod: Pod, port: int | str | None, protocol: Protocol) -> tuple[DestinationPort, ...]:
    """The ports of a pod that are meant: a number, a name there, or all that it declares."""
    match port:
        case int(number):
            return (DestinationPort(number, protocol, pod),)
        case str(name):
            numbers = sorted(named_ports(pod, name, protocol))
            return tuple(DestinationPort(number, protocol, pod) for number in numbers)
        case None:
            declared = dict.fromkeys(
                (item.port, item.protocol) for c in pod.containers for item in c.ports
            )
            found = tuple(DestinationPort(number, proto, pod) for number, proto in declared)
            return found or (DestinationPort(None, protocol, pod),)


def pod_ends(pod: Pod) -> tuple[RemoteEnd, ...]:
    """The pod by each of its addresses."""
    return tuple(RemoteEnd(address, pod) for address in pod.addresses or (_NOWHERE,))


def paired(
    sources: Sequence[RemoteEnd], targets: Sequence[RemoteEnd]
) -> tuple[tuple[RemoteEnd, RemoteEnd], ...]:
    """The ends of a connection, once for each family that both have; of none, the first ones."""
    pairs = tuple(
        (one, same[0])
        for one in sources
        if (same := [other for other in targets if other.address.version == one.address.version])
    )
    return pairs or ((sources[0], targets[0]),)


@dataclass(frozen=True, slots=True)
class Changed:
    """A connection that two sets of objects decide differently."""

    before: Contact
    after: Contact


def changes(
    before: PolicyMatrix, after: PolicyMatrix, port: int | str | None, protocol: Protocol
) -> tuple[Changed, ...]:
    """The connections of pods that both sets have, where one allows and the other denies."""
    known: dict[tuple[str, str, str], list[Contact]] = {}
    for contact in before.contacts(port, protocol):
        known.setdefault(contact.key, []).append(contact)
    return tuple(
        Changed(old, new)
        for new in after.contacts(port, protocol)
        for old in known.get(new.key, ())
        if old.is_over(new.family) and old.allowed is not new.allowed
    )
