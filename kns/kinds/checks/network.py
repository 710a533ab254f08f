"""Checks of the subnets, of the nodes' addresses and of the hosts outside the cluster."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from kns.addresses import IPAddress, IPNetwork
from kns.errors import Problem
from kns.kinds.fields import ONE_OF_EACH_FAMILY
from kns.kinds.internet import InternetHost
from kns.kinds.networking import (
    EXTERNAL_IPS_GATE_SINCE,
    NFACCT_SINCE,
    DetectLocalMode,
    Networking,
    NfacctUse,
    PodNetworkMode,
)
from kns.kinds.networks import Networks, networks, node_mask_size
from kns.kinds.node import Node
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.place import Located
from kns.labfile.wording import did_you_mean, shown

Host = Located[Node] | Located[InternetHost]
#: what a service subnet must at least hold: kubernetes at the first, DNS at the tenth address
MIN_SERVICE_ADDRESSES = 16
#: kube-controller-manager's limit on node masks (cidrset: "the mask difference is too large")
MAX_MASK_DIFFERENCE = 16
#: netns names are files: linux/limits.h NAME_MAX
NAME_MAX = 255


def check_network(sources: Sources) -> Iterator[Problem]:
    """Everything about subnets, nodes and internet hosts."""
    nets = networks(sources.lab.networking)
    yield from _families(sources)
    yield from _domain(sources)
    yield from _sizes(sources, nets)
    yield from _overlaps(sources, nets)
    yield from _kube_proxy(sources)
    yield from _node_addresses(sources, nets)
    yield from _pod_cidrs(sources, nets)
    yield from _internet(sources, nets)
    yield from _pools(sources, nets)
    yield from _api_server(sources)


# -- subnets ---------------------------------------------------------------------------------------

_SUBNETS = ("podSubnet", "serviceSubnet", "nodeSubnet", "internetSubnet")


def _written(spec: Networking) -> tuple[tuple[str, tuple[IPNetwork, ...]], ...]:
    values = (spec.pod_subnet, spec.service_subnet, spec.node_subnet, spec.internet_subnet)
    return tuple(zip(_SUBNETS, values, strict=True))


def _families(sources: Sources) -> Iterator[Problem]:
    spec = sources.lab.networking
    nets = networks(spec)
    for field, written in _written(spec):
        for network in written:
            if network.version not in nets.families:
                message = f"Invalid value: {shown(network)}: ipFamily is {spec.ip_family}"
                hint = "write `ipFamily: dual` for both families"
                yield sources.place.problem(("networking", field), message, hint)
    # flannel's VXLAN takes 50 bytes of each packet (70 where the nodes have IPv6 only)
    overhead = 0 if spec.pod_network is PodNetworkMode.HOST_GW else 50 if 4 in nets.families else 70
    if 6 in nets.families and spec.mtu < 1280 + overhead:
        message = f"Invalid value: {spec.mtu}: pods with IPv6 need at least {1280 + overhead}"
        yield sources.place.problem(("networking", "mtu"), message)


def _domain(sources: Sources) -> Iterator[Problem]:
    spec = sources.lab.networking
    both = spec.cluster_domain and sources.place.has("networking", "dns", "domain")
    if both and spec.cluster_domain != spec.dns.domain:
        message = f"Invalid value: {shown(spec.dns.domain)}: clusterDomain says otherwise"
        yield sources.place.problem(("networking", "dns", "domain"), message, "keep one of the two")


def _sizes(sources: Sources, nets: Networks) -> Iterator[Problem]:
    problem = sources.place.problem
    spec = sources.lab.networking
    for network in nets.pod:
        yield from _pod_subnet_size(sources, network, node_mask_size(spec, network.version))
    for network in nets.service:
        path: Path = ("networking", "serviceSubnet")
        if network.num_addresses < MIN_SERVICE_ADDRESSES:
            bits = network.max_prefixlen - 4
            message = f"Invalid value: {shown(network)}: is too small for cluster services"
            yield problem(path, message, f"it needs to be a /{bits} or larger")
        if network.prefixlen < network.max_prefixlen - 64:
            message = f"Invalid value: {shown(network)}: is too large, the mask must be >= 64"
            yield problem(path, message)
    wanted = len(sources.nodes) + 1
    for network in nets.node:
        if network.num_addresses - 2 < wanted:
            message = (
                f"Invalid value: {shown(network)}: is too small: holds {network.num_addresses - 2} "
                f"addresses for {len(sources.nodes)} nodes and their router"
            )
            yield problem(("networking", "nodeSubnet"), message, "use a larger subnet")
    for network in nets.internet:
        if network.num_addresses < 4:
            message = f"Invalid value: {shown(network)}: is too small for a router and a host"
            yield problem(("networking", "internetSubnet"), message)


def _pod_subnet_size(sources: Sources, network: IPNetwork, mask: int) -> Iterator[Problem]:
    path: Path = ("networking", "podSubnet")
    if network.prefixlen > mask:
        message = f"Invalid value: {shown(network)}: is too small: each node needs a /{mask}"
        yield sources.place.problem(path, message, "use a larger subnet, or set nodeCIDRMaskSize")
        return
    if network.version == 6 and mask - network.prefixlen > MAX_MASK_DIFFERENCE:
        message = (
            f"Invalid value: {shown(network)}: the nodes' mask /{mask} may be at most "
            f"{MAX_MASK_DIFFERENCE} bits longer"
        )
        yield sources.place.problem(path, message, f"use a /{mask - 8}")
        return
    holds = 2 ** (mask - network.prefixlen)
    wanted = sum(not _has_pod_cidr(node.value, network.version) for node in sources.nodes)
    if wanted > holds:
        message = (
            f"Invalid value: {shown(network)}: is too small: holds {holds} node CIDRs of /{mask}, "
            f"and there are {wanted} nodes"
        )
        yield sources.place.problem(path, message, "use a larger subnet, or set nodeCIDRMaskSize")


def _overlaps(sources: Sources, nets: Networks) -> Iterator[Problem]:
    written = dict(_written(sources.lab.networking))
    values = dict(zip(_SUBNETS, (nets.pod, nets.service, nets.node, nets.internet), strict=True))
    for (first, ours), (second, theirs) in itertools.combinations(values.items(), 2):
        for one, other in itertools.product(ours, theirs):
            if one.version != other.version or not one.overlaps(other):
                continue
            at, apart, network, against = second, first, other, one
            if other not in written[second] and one in written[first]:
                at, apart, network, against = first, second, one, other
            default = "" if against in written[apart] else "the default "
            message = f"Invalid value: {shown(network)}: overlaps with {default}{apart} {against}"
            yield sources.place.problem(("networking", at), message, f"move {at} or {apart}")


def _pools(sources: Sources, nets: Networks) -> Iterator[Problem]:
    """Addresses of load balancers are nobody else's."""
    spec = sources.lab.load_balancer
    fields = dict(zip(_SUBNETS, (nets.pod, nets.service, nets.node, nets.internet), strict=True))
    for pool in spec.pools if spec else ():
        path: Path = ("loadBalancer", "pool")
        if pool.version not in nets.families:
            message = f"Invalid value: {shown(pool)}: the lab has no IPv{pool.version}"
            yield sources.place.problem(path, message, "write `ipFamily: dual` for both families")
        for field, subnets in fields.items():
            for subnet in subnets:
                if (
                    field != "nodeSubnet"
                    and subnet.version == pool.version
                    and subnet.overlaps(pool)
                ):
                    message = f"Invalid value: {shown(pool)}: overlaps with {field} {subnet}"
                    yield sources.place.problem(path, message)


def _kube_proxy(sources: Sources) -> Iterator[Problem]:
    options = sources.lab.networking.kube_proxy
    path: Path = ("networking", "kubeProxy")
    mode, bridge = options.detect_local_mode, options.pod_bridge_interface
    if mode is DetectLocalMode.BRIDGE_INTERFACE and not bridge:
        message = "Required value: detectLocalMode is BridgeInterface"
        hint = "the bridge of kns' pods is cni0"
        yield sources.place.problem((*path, "podBridgeInterface"), message, hint)
    prefix = options.pod_interface_name_prefix
    if mode is DetectLocalMode.INTERFACE_NAME_PREFIX and not prefix:
        message = "Required value: detectLocalMode is InterfaceNamePrefix"
        hint = "the links of kns' pods begin with veth"
        yield sources.place.problem((*path, "podInterfaceNamePrefix"), message, hint)
    if options.nodeport_addresses_primary and options.nodeport_addresses:
        message = 'Invalid value: "primary": may not be combined with CIDRs'
        yield sources.place.problem((*path, "nodePortAddresses"), message)
    if options.nfacct is NfacctUse.ON and options.version < NFACCT_SINCE:
        message = f"Invalid value: kube-proxy {options.version} counts no packets"
        hint = f"{NFACCT_SINCE} is the first that does"
        yield sources.place.problem((*path, "nfacct"), message, hint)
    gates = options.feature_gates
    if not gates.allow_service_external_ips and options.version < EXTERNAL_IPS_GATE_SINCE:
        message = f"Invalid value: kube-proxy {options.version} has no such feature gate"
        hint = f"{EXTERNAL_IPS_GATE_SINCE} is the first that has it"
        gate = (*path, "featureGates", "AllowServiceExternalIPs")
        yield sources.place.problem(gate, message, hint)


# -- nodes -----------------------------------------------------------------------------------------


def written_addresses(part: Host) -> Iterator[tuple[IPAddress, Path]]:
    """A node's or host's addresses, each with its path."""
    single = part.place.has("address")
    for index, address in enumerate(part.value.addresses):
        path: Path = ("addresses", index - single)
        yield address, ("address",) if single and index == 0 else path


def _node_addresses(sources: Sources, nets: Networks) -> Iterator[Problem]:
    yield from _addresses(sources.nodes, nets.families, nets.node, "nodeSubnet")
    taken: dict[str, Located[object]] = {}
    for node in sources.nodes:
        if node.value.name in taken:
            yield duplicate(node, ("name",), node.value.name, taken[node.value.name])
        taken.setdefault(node.value.name, node)
        yield from _reserved(node, sources)


def _internet(sources: Sources, nets: Networks) -> Iterator[Problem]:
    yield from _addresses(sources.internet, nets.families, nets.internet, "internetSubnet")
    taken: dict[str, Located[object]] = {node.value.name: node for node in sources.nodes}
    for host in sources.internet:
        name = host.value.name
        if name in taken:
            yield duplicate(host, ("name",), name, taken[name])
        taken.setdefault(name, host)
        yield from _reserved(host, sources)


def _reserved(part: Host, sources: Sources) -> Iterator[Problem]:
    """Names that kns itself needs for netns, and names too long for one."""
    name = part.value.name
    if name in reserved_names(sources):
        message = f"Invalid value: {shown(name)}: {reserved_names(sources)[name]}"
        yield part.place.problem(("name",), message, "choose another name")
    netns = f"kns.{sources.lab.name}.{name}"
    if len(netns) > NAME_MAX:
        message = f"Invalid value: {shown(name)}: the name of its netns is too long"
        yield part.place.problem(("name",), message, f"at most {NAME_MAX} characters: {netns}")


def reserved_names(sources: Sources) -> dict[str, str]:
    """The names that no node, host or pod can have, and who has them."""
    reserved = {"fabric": "the name is taken by the wire between the nodes"}
    load_balancer = sources.lab.load_balancer
    if load_balancer is not None and load_balancer.mode == "proxy":
        reserved["cloud-lb"] = "the name is taken by the load balancer outside the cluster"
    return reserved


def duplicate(
    part: Located[object], path: Path, value: object, first: Located[object]
) -> Problem:  # fmt: skip
    """`Duplicate value`, with the line of the first."""
    hint = f"the first is {first.place.seen_from(part.place)}"
    return part.place.problem(path, f"Duplicate value: {shown(value)}", hint)


def _addresses(
    parts: Sequence[Located[Node] | Located[InternetHost]],
    families: tuple[int, ...],
    subnets: tuple[IPNetwork, ...],
    field: str,
) -> Iterator[Problem]:
    taken: dict[IPAddress, Located[object]] = {}
    by_family = dict(zip(families, subnets, strict=True))
    for part in parts:
        seen: set[int] = set()
        for address, path in written_addresses(part):
            objection = _address_objection(address, by_family.get(address.version), field)
            if address.version in seen:
                objection = "may hold no more than one address of each IP family"
            seen.add(address.version)
            if objection:
                message = f"Invalid value: {shown(address)}: {objection}"
                yield part.place.problem(path, message)
            elif address in taken:
                yield duplicate(part, path, address, taken[address])
            taken.setdefault(address, part)


def _address_objection(address: IPAddress, subnet: IPNetwork | None, field: str) -> str:
    if subnet is None:
        return f"the lab has no IPv{address.version}"
    if address not in subnet:
        return f"is not in {field} {subnet}"
    if address == subnet[1]:
        return "is the router's, the first of its subnet"
    if address == subnet[0] or (subnet.version == 4 and address == subnet[-1]):
        return f"is the network's or broadcast address of {subnet}"
    return ""


# -- pod CIDRs that are written --------------------------------------------------------------------


def _written_pod_cidrs(node: Located[Node]) -> Iterator[tuple[IPNetwork, Path]]:
    """A node's pod CIDRs, each with its path; `podCIDR` that `podCIDRs` repeats is one of these."""
    listed = node.place.get("podCIDRs")
    single = len(node.value.pod_cidrs) - (len(listed) if isinstance(listed, list) else 0)
    for index, cidr in enumerate(node.value.pod_cidrs):
        path: Path = ("podCIDRs", index - single)
        yield cidr, ("podCIDR",) if index < single else path


def _has_pod_cidr(node: Node, family: int) -> bool:
    return any(cidr.version == family for cidr in node.pod_cidrs)


def _pod_cidrs(sources: Sources, nets: Networks) -> Iterator[Problem]:
    subnets = dict(zip(nets.families, nets.pod, strict=True))
    taken: list[tuple[IPNetwork, str]] = []
    for node in sources.nodes:
        seen: set[int] = set()
        for cidr, path in _written_pod_cidrs(node):
            objection, hint = _pod_cidr_objection(cidr, subnets.get(cidr.version), taken), ""
            if cidr.version in seen:
                objection, hint = ONE_OF_EACH_FAMILY
            seen.add(cidr.version)
            if objection:
                yield node.place.problem(path, f"Invalid value: {shown(cidr)}: {objection}", hint)
            taken.append((cidr, node.value.name))


def _pod_cidr_objection(
    cidr: IPNetwork, subnet: IPNetwork | None, taken: list[tuple[IPNetwork, str]]
) -> str:
    if subnet is None:
        return f"the lab has no IPv{cidr.version}"
    if cidr.prefixlen < subnet.prefixlen or cidr[0] not in subnet:
        return f"is not in podSubnet {subnet}"
    if cidr.num_addresses < 4:
        return "is too small: a bridge and a pod need four addresses"
    for other, node in taken:
        if other.overlaps(cidr):
            return f"overlaps with {other} of {node}"
    return ""


# -- the API server --------------------------------------------------------------------------------


def _api_server(sources: Sources) -> Iterator[Problem]:
    wanted = sources.lab.api_server
    if wanted is not None and wanted.node and wanted.node not in sources.node_names:
        message = f"Not found: {shown(wanted.node)}: there is no such node"
        hint = did_you_mean(wanted.node, sorted(sources.node_names))
        yield sources.place.problem(("apiServer", "node"), message, hint)
