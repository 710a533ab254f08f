"""Checks of the pods: names, nodes, ports within a pod, DNS settings, how many fit on a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kns.errors import Problem
from kns.labfile import names
from kns.labfile.check_network import (
    NAME_MAX,
    duplicate,
    reserved_names,
    written_pod_cidrs,
)
from kns.labfile.expand import (
    PlacedPod,
    container_name,
    containers_of,
    expand_pods,
    ports_of,
    replica_names,
)
from kns.labfile.model import ContainerSpec, NodeSpec, PodSpec
from kns.labfile.networks import networks, node_mask_size, pod_capacity
from kns.labfile.places import Located, Place, Sources
from kns.labfile.problems import did_you_mean, shown

#: linux/net/bridge/br_private.h BR_MAX_PORTS
BRIDGE_PORTS = 1024
#: kubernetes/pkg/apis/core/validation: MaxDNSNameservers, MaxDNSSearchPaths and …ListChars
MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARS = 3, 32, 2048


def check_pods(sources: Sources) -> Iterator[Problem]:
    """Everything about pods."""
    for pod in sources.pods:
        yield from _node(pod, sources)
        yield from _containers(pod)
        yield from _dns(pod.value, pod.place)
        yield from _names(pod, sources)
    pods = expand_pods(sources.lab) if sources.nodes else ()
    yield from _duplicates(sources, pods)
    yield from _capacity(sources, pods)


def _node(pod: Located[PodSpec], sources: Sources) -> Iterator[Problem]:
    node = pod.value.node
    if node is not None and sources.node_names and node not in sources.node_names:
        known = sorted(sources.node_names)
        hint = did_you_mean(node, known) or f"the nodes are {', '.join(known[:10])}"
        yield pod.place.problem(("node",), f"Not found: {shown(node)}: no such node", hint)


def _names(pod: Located[PodSpec], sources: Sources) -> Iterator[Problem]:
    spec = pod.value
    longest = max(replica_names(spec), key=len, default=spec.name)
    if names.subdomain_objection(longest):
        message = f"Invalid value: {shown(longest)}: must be no more than 253 characters"
        yield pod.place.problem(("name",), message)
    namespace = "" if spec.namespace == "default" else f"{spec.namespace}."
    netns = f"kns.{sources.lab.metadata.name}.{namespace}{longest}"
    if len(netns) > NAME_MAX:
        message = f"Invalid value: {shown(spec.name)}: the name of its netns is too long"
        yield pod.place.problem(("name",), message, f"at most {NAME_MAX} characters: {netns}")


# -- containers ------------------------------------------------------------------------------------


def _containers(pod: Located[PodSpec]) -> Iterator[Problem]:
    used_names: set[str] = set()
    used_ports: dict[tuple[int, str], str] = {}
    for index, container in enumerate(containers_of(pod.value)):
        name = container_name(container, index)
        base = ("containers", index)
        if name in used_names:
            message = f"Duplicate value: {shown(name)}"
            yield pod.place.problem((*base, "name"), message, "containers need names of their own")
        used_names.add(name)
        yield from _port_fields(container, pod.place, base)
        for place, (_, number, protocol) in zip(
            _port_paths(container), ports_of(container), strict=True
        ):
            holder = used_ports.setdefault((number, protocol), name)
            if holder != name or place in _repeated(container):
                message = f"Duplicate value: {number}/{protocol}: already used by {holder}"
                hint = "the containers of a pod share one network: each port can be bound once"
                yield pod.place.problem((*base, *place), message, hint)


def _port_paths(container: ContainerSpec) -> tuple[tuple[str | int, ...], ...]:
    """The path of each of `ports_of`."""
    paths: list[tuple[str | int, ...]] = [("port",)] if container.port is not None else []
    for index, port in enumerate(container.ports):
        if port.port is not None:
            paths.append(("ports", index, "port"))
        elif port.container_port is not None:
            paths.append(("ports", index, "containerPort"))
    return tuple(paths)


def _repeated(container: ContainerSpec) -> set[tuple[str | int, ...]]:
    """The paths of a container's ports that an earlier one of its ports already has."""
    seen: set[tuple[int, str]] = set()
    repeated: set[tuple[str | int, ...]] = set()
    for path, (_, number, protocol) in zip(
        _port_paths(container), ports_of(container), strict=True
    ):
        if (number, protocol) in seen:
            repeated.add(path)
        seen.add((number, protocol))
    return repeated


def _port_fields(
    container: ContainerSpec, place: Place, base: tuple[str, int]
) -> Iterator[Problem]:
    used: set[str] = set()
    for index, port in enumerate(container.ports):
        path = (*base, "ports", index)
        if port.port is None and port.container_port is None:
            yield place.problem((*path, "containerPort"), "Required value")
        if port.port is not None and port.container_port is not None:
            message = "may not be set together with containerPort, which it is short for"
            yield place.problem((*path, "port"), message)
        if port.name is not None and port.name in used:
            yield place.problem((*path, "name"), f"Duplicate value: {shown(port.name)}")
        used.add(port.name or "")


def _dns(spec: PodSpec, place: Place) -> Iterator[Problem]:
    config = spec.dns_config
    if spec.dns_policy == "None" and not config.nameservers:
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
    controllers = {pod.full_name for pod in pods if pod.component}
    netns |= {host.value.name: host for host in sources.internet}
    for pod in pods:
        if pod.template < 0:
            continue
        part = sources.pods[pod.template]
        key = pod.name if pod.namespace == "default" else pod.full_name.replace("/", ".")
        if pod.full_name in by_name:
            yield duplicate(part, ("name",), pod.name, by_name[pod.full_name])
        elif pod.namespace == "kube-system" and _is_dns_pod(sources, pod.name):
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


def _is_dns_pod(sources: Sources, name: str) -> bool:
    dns = sources.lab.networking.dns
    return dns.enabled and name in {f"coredns-{index}" for index in range(1, dns.replicas + 1)}


def _capacity(sources: Sources, pods: tuple[PlacedPod, ...]) -> Iterator[Problem]:
    counts = Counter(pod.node for pod in pods)
    for node in sources.nodes:
        count, name = counts[node.value.name], node.value.name
        if count > BRIDGE_PORTS:
            message = f"{count} pods on {name}: a Linux bridge has {BRIDGE_PORTS} ports"
            yield node.place.problem(("name",), message, "add nodes")
            continue
        size, mask = _smallest_capacity(sources, node.value)
        if count > size:
            message = f"{count} pods on {name}: its pod CIDR, a /{mask}, holds {size}"
            hint = "add nodes, or set networking.nodeCIDRMaskSize to a smaller number"
            yield node.place.problem(("name",), message, hint)


def _smallest_capacity(sources: Sources, node: NodeSpec) -> tuple[int, int]:
    """How many pods fit by addresses, and the prefix length of the CIDR that says so."""
    spec = sources.lab.networking
    written = {cidr.version: cidr for cidr, _ in written_pod_cidrs(node)}
    sizes: list[tuple[int, int]] = []
    for subnet in networks(spec).pod:
        cidr = written.get(subnet.version)
        mask = cidr.prefixlen if cidr else node_mask_size(spec, subnet.version)
        holds = pod_capacity(cidr) if cidr else max(0, 2 ** (subnet.max_prefixlen - mask) - 3)
        sizes.append((holds, mask))
    return min(sizes)
