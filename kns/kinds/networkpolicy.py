"""NetworkPolicy: who may open connections to the pods that it selects, and to whom they may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from kns.addresses import IPNetwork
from kns.kinds import selector
from kns.kinds.common import Labels, Object, Protocol, metadata
from kns.kinds.fields import (
    ANNOTATIONS_FIELD,
    LENIENT_CIDR,
    METADATA_PATHS,
    NAMED,
    PORT,
    PROTOCOL,
    TARGET_PORT,
    in_spec,
)
from kns.kinds.selector import LabelSelector
from kns.labfile.place import Place
from kns.labfile.reader import JSON, Choice, ListOf
from kns.labfile.shape import Field, Form, Shape


class PolicyType(StrEnum):
    """A direction, as the selected pods see it."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


@dataclass(frozen=True, slots=True)
class IPBlock:
    """The addresses of `cidr` but for those of `excluded`, which is the API's `except`."""

    cidr: IPNetwork
    excluded: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkPolicyPort:
    """A port by number, by a container port's name, or a range. Without `port`: all of them."""

    protocol: Protocol = Protocol.TCP
    port: int | str | None = None
    end_port: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkPolicyPeer:
    """Pods of the policy's own namespace, of selected namespaces, or a block of addresses.

    `pod_selector` together with `namespace_selector` means pods that both fit.
    """

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


@dataclass(frozen=True, slots=True)
class NetworkPolicyRule:
    """What it allows: any of `ports` with any of `peers`. No peers: anybody; no ports: all.

    `place` is where it was read, `lab.yaml:14`; it makes no rule another.
    """

    peers: tuple[NetworkPolicyPeer, ...] = ()
    ports: tuple[NetworkPolicyPort, ...] = ()
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """A NetworkPolicy.

    The pods that it selects are isolated in the directions of `policy_types`: nothing passes but
    what a rule of some policy that selects them allows.
    """

    namespace: str
    name: str
    pod_selector: LabelSelector = field(default_factory=LabelSelector)
    policy_types: tuple[PolicyType, ...] = (PolicyType.INGRESS,)
    ingress: tuple[NetworkPolicyRule, ...] = ()
    egress: tuple[NetworkPolicyRule, ...] = ()
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)
    place: str = field(default="", compare=False)

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def rules(self, direction: PolicyType) -> tuple[NetworkPolicyRule, ...]:
        """Its rules of that direction."""
        return self.ingress if direction is PolicyType.INGRESS else self.egress


def located(policy: NetworkPolicy, place: Place) -> NetworkPolicy:
    """The policy with the places at which it and its rules were read."""

    def rules(
        field_name: str, found: tuple[NetworkPolicyRule, ...]
    ) -> tuple[NetworkPolicyRule, ...]:
        return tuple(
            replace(rule, place=place.text(field_name, index)) for index, rule in enumerate(found)
        )

    return replace(
        policy,
        ingress=rules("ingress", policy.ingress),
        egress=rules("egress", policy.egress),
        place=place.text(),
    )


def placed_as(
    policies: Iterable[NetworkPolicy], written: Iterable[NetworkPolicy]
) -> tuple[NetworkPolicy, ...]:
    """The policies with the places of their equals in `written`; others are in no file."""
    known = {policy.full_name: policy for policy in written}
    return tuple(
        known[policy.full_name] if known.get(policy.full_name) == policy else _nowhere(policy)
        for policy in policies
    )


def _nowhere(policy: NetworkPolicy) -> NetworkPolicy:
    ingress, egress = (
        tuple(replace(rule, place="") for rule in rules)
        for rules in (policy.ingress, policy.egress)
    )
    return replace(policy, ingress=ingress, egress=egress, place="")


# -- reading ---------------------------------------------------------------------------------------


def _policy(
    name: str,
    namespace: str = "default",
    policy_types: tuple[PolicyType, ...] = (),
    egress: tuple[NetworkPolicyRule, ...] = (),
    **rest: object,
) -> NetworkPolicy:
    """pkg/apis/networking/v1/defaults.go: Ingress always, Egress if it has a rule for it."""
    default = (PolicyType.INGRESS, PolicyType.EGRESS) if egress else (PolicyType.INGRESS,)
    made = NetworkPolicy(namespace, name, policy_types=policy_types or default, egress=egress)
    return replace(made, **rest)  # type: ignore[arg-type]


_BLOCK = Shape(
    IPBlock,
    Field("cidr", LENIENT_CIDR, required=True),
    Field("except", ListOf(LENIENT_CIDR), "excluded"),
    closed=True,
)
_PEER = Shape(
    NetworkPolicyPeer,
    Field("podSelector", selector.SHAPE, default=None),
    Field("namespaceSelector", selector.SHAPE, default=None),
    Field("ipBlock", _BLOCK, default=None),
    closed=True,
)
_PORT = Shape(
    NetworkPolicyPort,
    Field("protocol", PROTOCOL, zero=True),
    Field("port", TARGET_PORT),
    Field("endPort", PORT, default=None),
    closed=True,
)


def _rule_shape(peers: str, direction: PolicyType) -> Shape[NetworkPolicyRule]:
    return Shape(
        NetworkPolicyRule,
        Field(peers, ListOf(_PEER), "peers"),
        Field("ports", ListOf(_PORT)),
        title=f"NetworkPolicy{direction}Rule",
        doc=f"Any of `ports` with any of `{peers}`; an empty list, or none, is all of them.",
        closed=True,
    )


SHAPE = Shape(
    _policy,
    *NAMED,
    ANNOTATIONS_FIELD,
    Field("podSelector", selector.SHAPE),
    Field("policyTypes", ListOf(Choice(PolicyType)), default=None),
    Field("ingress", ListOf(_rule_shape("from", PolicyType.INGRESS))),
    Field("egress", ListOf(_rule_shape("to", PolicyType.EGRESS))),
    of=NetworkPolicy,
    doc="The pods that it selects are isolated in the directions of `policyTypes`: nothing passes "
    "but what a rule of some policy that selects them allows.",
)
FORM = Form(
    SHAPE,
    {**METADATA_PATHS, **in_spec("podSelector", "policyTypes", "ingress", "egress")},
    closed=(("spec",),),
)


# -- writing ---------------------------------------------------------------------------------------


def write(policy: NetworkPolicy) -> Object:
    """A networking.k8s.io/v1 NetworkPolicy, which reads as the same one again."""
    types: list[JSON] = [str(item) for item in policy.policy_types]
    spec: Object = {"podSelector": selector.write(policy.pod_selector), "policyTypes": types}
    if policy.ingress:
        spec["ingress"] = [_written_rule("from", rule) for rule in policy.ingress]
    if policy.egress:
        spec["egress"] = [_written_rule("to", rule) for rule in policy.egress]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(
            policy.name, policy.namespace, policy.labels, annotations=policy.annotations
        ),
        "spec": spec,
    }


def _written_rule(peers: str, rule: NetworkPolicyRule) -> JSON:
    result: Object = {}
    if rule.peers:
        result[peers] = [_written_peer(peer) for peer in rule.peers]
    if rule.ports:
        result["ports"] = [_written_port(port) for port in rule.ports]
    return result


def _written_peer(peer: NetworkPolicyPeer) -> JSON:
    result: Object = {}
    if peer.pod_selector is not None:
        result["podSelector"] = selector.write(peer.pod_selector)
    if peer.namespace_selector is not None:
        result["namespaceSelector"] = selector.write(peer.namespace_selector)
    if peer.ip_block is not None:
        block: Object = {"cidr": str(peer.ip_block.cidr)}
        if peer.ip_block.excluded:
            block["except"] = [str(cidr) for cidr in peer.ip_block.excluded]
        result["ipBlock"] = block
    return result


def _written_port(port: NetworkPolicyPort) -> JSON:
    result: Object = {"protocol": str(port.protocol)}
    if port.port is not None:
        result["port"] = port.port
    if port.end_port is not None:
        result["endPort"] = port.end_port
    return result
