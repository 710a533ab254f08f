"""Checks of NetworkPolicies: what kube-apiserver refuses, in its words.

Sources: pkg/apis/networking/validation/validation.go ValidateNetworkPolicySpec;
apimachinery pkg/apis/meta/v1/validation ValidateLabelSelectorRequirement. What it takes and few
mean is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from kns.errors import Problem
from kns.kinds.checks.network import duplicate
from kns.kinds.networkpolicy import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicyRule,
    PolicyType,
)
from kns.kinds.placement import expand_pods
from kns.kinds.selector import LabelSelector, SelectorOperator
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.wording import shown

_WITH_VALUES = (SelectorOperator.IN, SelectorOperator.NOT_IN)


def check_policies(sources: Sources) -> Iterator[Problem]:
    """Every error in NetworkPolicies."""
    taken: dict[str, Located[NetworkPolicy]] = {}
    for part in sources.network_policies:
        policy, place = part.value, part.place
        if policy.full_name in taken:
            yield duplicate(part, ("name",), policy.name, taken[policy.full_name])
        taken.setdefault(policy.full_name, part)
        yield from check_policy(policy, place)


def check_policy(policy: NetworkPolicy, place: Place) -> Iterator[Problem]:
    """Every error that a policy has by itself."""
    yield from check_selector(policy.pod_selector, place, ("podSelector",))
    if len(policy.policy_types) > len(PolicyType):
        yield place.problem(("policyTypes",), "may not specify more than two policyTypes")
    for path, rule in _rules(policy):
        yield from _rule(rule, place, path)


def _rules(policy: NetworkPolicy) -> Iterator[tuple[Path, NetworkPolicyRule]]:
    for direction in PolicyType:
        for index, rule in enumerate(policy.rules(direction)):
            yield (direction.lower(), index), rule


def peers_field(path: Path) -> str:
    """The name of the list of peers in a rule at that path."""
    return "from" if path[0] == "ingress" else "to"


def _rule(rule: NetworkPolicyRule, place: Place, path: Path) -> Iterator[Problem]:
    for index, port in enumerate(rule.ports):
        if objection := _port_objection(port):
            where = (*path, "ports", index, "endPort")
            yield place.problem(where, f"Invalid value: {shown(port.end_port)}: {objection}")
    for index, peer in enumerate(rule.peers):
        yield from _peer(peer, place, (*path, peers_field(path), index))


def _port_objection(port: NetworkPolicyPort) -> str:
    if port.end_port is None:
        return ""
    if port.port is None:
        return "may not be specified when `port` is not specified"
    if isinstance(port.port, str):
        return "may not be specified when `port` is non-numeric"
    return "" if port.end_port >= port.port else "must be greater than or equal to `port`"


def _peer(peer: NetworkPolicyPeer, place: Place, path: Path) -> Iterator[Problem]:
    selectors = (("podSelector", peer.pod_selector), ("namespaceSelector", peer.namespace_selector))
    for name, selector in selectors:
        if selector is not None:
            yield from check_selector(selector, place, (*path, name))
    named = peer.pod_selector is not None or peer.namespace_selector is not None
    if peer.ip_block is None:
        if not named:
            hint = "podSelector: {} is the namespace's pods, namespaceSelector: {} all pods"
            yield place.problem(path, "Required value: must specify a peer", hint)
        return
    if named:
        yield place.problem(path, "Forbidden: may not specify both ipBlock and another peer")
    yield from _block(peer.ip_block, place, (*path, "ipBlock"))


def _block(block: IPBlock, place: Place, path: Path) -> Iterator[Problem]:
    for index, cidr in enumerate(block.excluded):
        inside = cidr.version == block.cidr.version and cidr.network_address in block.cidr
        if not inside or cidr.prefixlen <= block.cidr.prefixlen:
            message = f"Invalid value: {shown(str(cidr))}: must be a strict subset of `cidr`"
            yield place.problem((*path, "except", index), message)


def check_selector(selector: LabelSelector, place: Place, path: Path) -> Iterator[Problem]:
    """Values where an operator wants none, and none where it wants some."""
    for index, item in enumerate(selector.match_expressions):
        where = (*path, "matchExpressions", index, "values")
        if item.operator in _WITH_VALUES and not item.values:
            message = "Required value: must be specified when `operator` is 'In' or 'NotIn'"
            yield place.problem(where, message)
        elif item.operator not in _WITH_VALUES and item.values:
            message = "Forbidden: may not be specified when `operator` is 'Exists' or"
            yield place.problem(where, f"{message} 'DoesNotExist'")


# -- warnings --------------------------------------------------------------------------------------


def warn_policies(sources: Sources) -> Iterator[Problem]:
    """Policies that select no pod, rules of a direction that they don't isolate, host bits."""
    pods = [item.pod for item in expand_pods(sources.lab)] if sources.nodes else []
    for part in sources.network_policies:
        policy, place = part.value, part.place
        own = (pod.labels for pod in pods if pod.namespace == policy.namespace)
        if pods and not any(policy.pod_selector.matches(labels) for labels in own):
            message = f"matches no pod of namespace {policy.namespace}"
            yield place.problem(("podSelector",), message, warning=True)
        for direction in PolicyType:
            if policy.rules(direction) and direction not in policy.policy_types:
                message = f"has no effect: policyTypes leaves out {direction}"
                yield place.problem((direction.lower(),), message, warning=True)
        yield from _host_bits(policy, place)


def _host_bits(policy: NetworkPolicy, place: Place) -> Iterator[Problem]:
    for path, rule in _rules(policy):
        for index, peer in enumerate(rule.peers):
            base = (*path, peers_field(path), index, "ipBlock")
            blocks = () if peer.ip_block is None else (peer.ip_block.cidr, *peer.ip_block.excluded)
            for number, cidr in enumerate(blocks):
                where = (*base, "cidr") if number == 0 else (*base, "except", number - 1)
                written = str(place.get(*where)).partition("/")[0]
                if _is_other(written, str(cidr.network_address)):
                    message = f"bits set beyond the prefix: it means {cidr}"
                    yield place.problem(where, message, warning=True)


def _is_other(written: str, meant: str) -> bool:
    try:
        return ip_address(written) != ip_address(meant)
    except ValueError:  # leading zeros
        return False
