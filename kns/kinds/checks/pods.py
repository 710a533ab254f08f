"""Checks of the pods: names, nodes, ports within a pod, DNS settings, how many fit on a node."""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPAddress
from kns.errors import Problem
from kns.kinds import names
from kns.kinds.checks.network import (
    NAME_MAX,
    duplicate,
    reserved_names,
)
from kns.kinds.common import Protocol
from kns.kinds.lifecycle import SleepAction
from kns.kinds.networking import DNS_DEPLOYMENT, DNS_NAMESPACE
from kns.kinds.networks import networks, node_mask_size, pod_capacity
from kns.kinds.node import Node
from kns.kinds.placement import PlacedPod, expand_pods
from kns.kinds.pod import ALWAYS, Container, DNSPolicy, Pod
from kns.kinds.scheduling import NO_FREE_PORTS, NO_MATCH, HostPort, objection
from kns.kinds.sources import Sources
from kns.kinds.workload import Workload, written_containers, written_ports
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.wording import did_you_mean, shown

#: linux/net/bridge/br_private.h BR_MAX_PORTS
BRIDGE_PORTS = 1024
#: kubernetes/pkg/apis/core/validation: MaxDNSNameservers, MaxDNSSearchPaths and …ListChars
MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARS = 3, 32, 2048


def check_pod(part: Located[Workload]) -> Iterator[Problem]:
    """What is wrong with the pods of a workload, whatever else there is."""
    yield from _containers(part)
    yield from _dns(part.value.template, part.place)


def check_pods(sources: Sources) -> Iterator[Problem]:
    """What is wrong with pods in their lab: with their nodes, and with each other."""
    nodes = tuple(node.name for node in sources.lab.nodes)
    for part in sources.workloads:
        yield from _node(part, sources)
        yield from _names(part, sources.lab.name, nodes)
    pods = expand_pods(sources.lab) if sources.nodes else ()
    yield from _duplicates(sources, pods)
    yield from _capacity(sources, pods)
    yield from _nodes_of(sources, pods)


def _node(part: Located[Workload], sources: Sources) -> Iterator[Problem]:
    node = part.value.template.node
    if node and sources.node_names and node not in sources.node_names:
        known = sorted(sources.node_names)
        hint = did_you_mean(node, known) or f"the nodes are {', '.join(known[:10])}"
        yield part.place.problem(("node",), f"Not found: {shown(node)}: no such node", hint)


def _names(part: Located[Workload], lab: str, nodes: tuple[str, ...]) -> Iterator[Problem]:
    template = part.value.template
    longest = max((pod.name for pod in part.value.pods(nodes)), key=len, default=template.name)
    if names.subdomain_objection(longest):
        message = f"Invalid value: {shown(longest)}: must be no more than 253 characters"
        yield part.place.problem(("name",), message)
    namespace = "" if template.namespace == "default" else f"{template.namespace}."
    netns = f"kns.{lab}.{namespace}{longest}"
    if len(netns) > NAME_MAX:
        message = f"Invalid value: {shown(template.name)}: the name of its netns is too long"
        yield part.place.problem(("name",), message, f"at most {NAME_MAX} characters: {netns}")


def _nodes_of(sources: Sources, pods: tuple[PlacedPod, ...]) -> Iterator[Problem]:
    """What kubelet refuses of the pods that name their node: it runs them, or nobody does."""
    nodes = {part.value.name: part.value for part in sources.nodes}
    taken: dict[str, list[tuple[HostPort, Pod]]] = {}
    for item in _written(pods):
        pod, part = item.pod, sources.workloads[item.workload]
        node = nodes.get(pod.node)
        if node is None:
            continue
        if part.value.template.node and objection(pod.wishes, node.name, node.labels, ()):
            message = f"Predicate NodeAffinity failed: {NO_MATCH}"
            field = "nodeSelector" if part.place.has("nodeSelector") else "affinity"
            yield part.place.problem((field,), message, f"{label_words(node)}; or leave node out")
        others = taken.setdefault(node.name, [])
        for port in pod.host_ports:
            clash = next((other for known, other in others if known.clashes(port)), None)
            if clash is not None and clash is not pod:
                message = f"Predicate NodePorts failed: {NO_FREE_PORTS}"
                hint = f"{clash.name} has port {port.port}/{port.protocol} of {node.name}"
                yield part.place.problem(
                    ("node" if part.value.template.node else "name",), message, hint
                )
                break
        others += [(port, pod) for port in pod.host_ports]


def label_words(node: Node) -> str:
    """What labels a node has."""
    text = ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
    return f"{node.name} has the labels {text}" if text else f"{node.name} has no labels"


# -- containers ------------------------------------------------------------------------------------


def _containers(part: Located[Workload]) -> Iterator[Problem]:
    used_names: set[str] = set()
    for container, base in written_containers(part):
        if container.name in used_names:
            message = f"Duplicate value: {shown(container.name)}"
            hint = "containers need names of their own"
            yield part.place.problem((*base, "name"), message, hint)
        used_names.add(container.name)
        yield from _port_fields(part.place, base)
        yield from _sleep(part, container, base)
    yield from _init_containers(part.place)
    yield from _host_ports(part)


def _sleep(part: Located[Workload], container: Container, base: Path) -> Iterator[Problem]:
    """A hook sleeps no longer than the pod has to end (validateSleepAction)."""
    grace = part.value.template.termination_grace_period_seconds
    hooks = (
        ("postStart", container.lifecycle.post_start),
        ("preStop", container.lifecycle.pre_stop),
    )
    for name, action in hooks:
        if isinstance(action, SleepAction) and action.seconds > grace:
            message = (
                f"Invalid value: {action.seconds}: must be non-negative and less than "
                f"terminationGracePeriodSeconds ({grace})"
            )
            yield part.place.problem((*base, "lifecycle", name, "sleep"), message)


_NOT_OF_INIT = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")


def _init_containers(place: Place) -> Iterator[Problem]:
    """What ends before the containers start is asked nothing (validateInitContainers)."""
    written = place.get("initContainers")
    for index, item in enumerate(written if isinstance(written, list) else ()):
        if isinstance(item, dict) and item.get("restartPolicy") != ALWAYS:
            for name in _NOT_OF_INIT:
                if item.get(name) is not None:
                    message = (
                        "Forbidden: may not be set for init containers without restartPolicy=Always"
                    )
                    yield place.problem(("initContainers", index, name), message)


def _host_ports(part: Located[Workload]) -> Iterator[Problem]:
    """checkHostPortConflicts, and validateHostNetwork; the sidecars' are looked at one by one."""
    used: set[tuple[Protocol, IPAddress | None, int]] = set()
    is_host = part.value.template.host_network
    for container, base in written_containers(part):
        known = set() if container.is_sidecar else used
        for port, path in written_ports(container, part.place, base):
            number = port.host_port or (port.port if is_host else 0)
            if is_host and number != port.port:
                message = (
                    f"Invalid value: {port.port}: must match `hostPort` when `hostNetwork` is true"
                )
                yield part.place.problem((*path, "containerPort"), message)
            key = (port.protocol, port.host_ip, number)
            if number and key in known:
                text = f"{port.protocol}/{port.host_ip or ''}/{number}"
                message = f"Duplicate value: {shown(text)}"
                yield part.place.problem((*path, "hostPort"), message)
            known.add(key)


def _port_fields(place: Place, base: Path) -> Iterator[Problem]:
    used: set[object] = set()
    written = place.get(*base, "ports")
    for index in range(len(written) if isinstance(written, list) else 0):
        path = (*base, "ports", index)
        short, long, name = (place.get(*path, key) for key in ("port", "containerPort", "name"))
        if short is None and long is None:
            yield place.problem((*path, "containerPort"), "Required value")
        if short is not None and long is not None:
            message = "may not be set together with containerPort, which it is short for"
            yield place.problem((*path, "port"), message)
        if name and name in used:
            yield place.problem((*path, "name"), f"Duplicate value: {shown(name)}")
        used.add(name)


def _dns(spec: Pod, place: Place) -> Iterator[Problem]:
    config = spec.dns_config
    if spec.dns_policy is DNSPolicy.NONE and not config.nameservers:
        message = (
            "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"
        )
        yield place.problem(("dnsConfig", "nameservers"), message)
    if len(config.nameservers) > MAX_NAMESERVERS:
        message = f"Invalid value: must not have more than {MAX_NAMESERVERS} nameservers"
        yield place.problem(("dnsConfig", "nameservers"), message)
    if len(config.searches) > MAX_SEARCHES:
        message = f"Invalid value: must not have more than {MAX_SEARCHES} search paths"
        yield place.problem(("dnsConfig", "searches"), message)
    if len(" ".join(config.searches)) > MAX_SEARCH_CHARS:
        message = f"Invalid value: must not have more than {MAX_SEARCH_CHARS} characters"
        yield place.problem(("dnsConfig", "searches"), message)
    for index, search in enumerate(config.searches):
        if search != "." and (objection := names.subdomain_objection(search.removesuffix("."))):
            message = f"Invalid value: {shown(search)}: {objection}"
            yield place.problem(("dnsConfig", "searches", index), message)


# -- all pods together -----------------------------------------------------------------------------


def _duplicates(sources: Sources, pods: tuple[PlacedPod, ...]) -> Iterator[Problem]:
    """Pods of one name, and pods whose netns would have the name of another netns."""
    by_name: dict[str, Located[object]] = {}
    # a node `a.b` and the pod `b` of the namespace `a` have one netns name
    netns: dict[str, Located[object]] = {node.value.name: node for node in sources.nodes}
    reserved = reserved_names(sources)
    # placed, the cluster's own pods are as any other
    own = not sources.lab.placed
    controllers = {item.pod.full_name for item in pods if own and _is_controller(item.pod)}
    netns |= {host.value.name: host for host in sources.internet}
    for pod, part in ((item.pod, sources.workloads[item.workload]) for item in _written(pods)):
        key = pod.name if pod.namespace == "default" else pod.full_name.replace("/", ".")
        if pod.full_name in by_name:
            yield duplicate(part, ("name",), pod.name, by_name[pod.full_name])
        elif own and pod.namespace == DNS_NAMESPACE and _is_dns_pod(sources, pod.name):
            message = f"Duplicate value: {shown(pod.name)}: kns makes this pod for cluster DNS"
            yield part.place.problem(("name",), message, "rename it, or set dns: {enabled: false}")
        elif pod.full_name in controllers:
            message = f"Duplicate value: {shown(pod.name)}: kns makes this pod for Ingress"
            yield part.place.problem(("name",), message, "leave it out: kns runs its own nginx")
        elif key in netns or key in reserved:
            other = f" (line {netns[key].place.line})" if key in netns else ""
            message = f"Duplicate value: {shown(pod.name)}: its netns would be named {key!r}"
            hint = f"a node, host or pod{other} has a netns of that name: rename one"
            yield part.place.problem(("name",), message, hint)
        by_name.setdefault(pod.full_name, part)
        netns.setdefault(key, part)


def _written(pods: tuple[PlacedPod, ...]) -> Iterator[PlacedPod]:
    """Those of the file, without kns' own."""
    return (item for item in pods if item.workload >= 0)


def _is_controller(pod: Pod) -> bool:
    return any(container.component for container in pod.containers)


def _is_dns_pod(sources: Sources, name: str) -> bool:
    dns = sources.lab.networking.dns
    return dns.enabled and name in {
        f"{DNS_DEPLOYMENT}-{index}" for index in range(1, dns.replicas + 1)
    }


def _capacity(sources: Sources, pods: tuple[PlacedPod, ...]) -> Iterator[Problem]:
    """Of a file the node is to blame; of a cluster the pods that came last, as kubelet sees it."""
    held: dict[str, list[PlacedPod]] = {}
    for item in pods:
        if not item.pod.host_network:
            held.setdefault(item.pod.node, []).append(item)
    for node in sources.nodes:
        name, there = node.value.name, held.get(node.value.name, [])
        size, mask = _smallest_capacity(sources, node.value)
        why = f"its pod CIDR, a /{mask}, holds {size}"
        hint = "add nodes, or set networking.nodeCIDRMaskSize to a smaller number"
        if size > BRIDGE_PORTS or (len(there) > BRIDGE_PORTS and not sources.lab.placed):
            size, why, hint = BRIDGE_PORTS, f"a Linux bridge has {BRIDGE_PORTS} ports", "add nodes"
        if len(there) <= size:
            continue
        if not sources.lab.placed:
            yield node.place.problem(("name",), f"{len(there)} pods on {name}: {why}", hint)
            continue
        for item in _written(tuple(there[size:])):
            part = sources.workloads[item.workload]
            yield part.place.problem(("node",), f"Too many pods on {name}: {why}", hint)


def _smallest_capacity(sources: Sources, node: Node) -> tuple[int, int]:
    """How many pods fit by addresses, and the prefix length of the CIDR that says so."""
    spec = sources.lab.networking
    written = {cidr.version: cidr for cidr in node.pod_cidrs}
    sizes: list[tuple[int, int]] = []
    for subnet in networks(spec).pod:
        cidr = written.get(subnet.version)
        mask = cidr.prefixlen if cidr else node_mask_size(spec, subnet.version)
        holds = pod_capacity(cidr) if cidr else max(0, 2 ** (subnet.max_prefixlen - mask) - 3)
        sizes.append((holds, mask))
    return min(sizes)
