"""Checks of `networking.egress`: gateways that exist, CIDRs that make sense together."""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPNetwork
from kns.errors import Problem
from kns.kinds.networking import EgressGateway
from kns.kinds.networks import networks
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.wording import did_you_mean, shown

_EGRESS: Path = ("networking", "egress")
#: marks of gateways are in the upper half of a packet's mark
FIRST_GATEWAY_BIT = 16


def check_egress(sources: Sources) -> Iterator[Problem]:
    """Nodes that are not there, CIDRs of a family that the lab has not, marks that collide."""
    networking = sources.lab.networking
    for index, gateway in enumerate(networking.egress.gateways):
        path: Path = (*_EGRESS, "gateways", index)
        if gateway.node not in sources.node_names:
            message = f"Not found: {shown(gateway.node)}: there is no such node"
            hint = did_you_mean(gateway.node, sorted(sources.node_names))
            yield sources.place.problem((*path, "node"), message, hint)
        for field, cidrs in _cidrs(gateway):
            for cidr in cidrs if sources.place.has(*path, field) else ():
                if cidr.version not in networks(networking).families:
                    message = f"Invalid value: {shown(cidr)}: ipFamily is {networking.ip_family}"
                    yield sources.place.problem((*path, field), message)
    proxy = networking.kube_proxy
    bits = (proxy.masquerade_bit, proxy.nftables.masquerade_bit)
    if networking.egress.gateways and max(bits) >= FIRST_GATEWAY_BIT:
        message = f"Invalid value: {max(bits)}: egress gateways use the bits from 16 on"
        path = ("networking", "kubeProxy", "masqueradeBit")
        yield sources.place.problem(path, message, "use a lower bit; kube-proxy's own is 14")


def _cidrs(gateway: EgressGateway) -> Iterator[tuple[str, tuple[IPNetwork, ...]]]:
    yield "destinationCIDRs", gateway.destination_cidrs
    yield "excludedCIDRs", gateway.excluded_cidrs


def warn_egress(sources: Sources) -> Iterator[Problem]:
    """Gateways that choose no pod; non-masquerade CIDRs without the pods' own."""
    networking = sources.lab.networking
    egress = networking.egress
    for index, gateway in enumerate(egress.gateways):
        wanted = gateway.selector.items()
        chosen = any(
            pod.namespace == gateway.namespace and wanted <= pod.labels.items()
            for pod in (part.value.template for part in sources.workloads)
        )
        if not chosen:
            path: Path = (*_EGRESS, "gateways", index, "podSelector")
            message = f"matches no pod of namespace {gateway.namespace}"
            yield sources.place.problem(path, message, warning=True)
    if not egress.non_masquerade_cidrs or not egress.masquerade:
        return
    for subnet in networks(networking).pod:
        if not any(_holds(cidr, subnet) for cidr in egress.non_masquerade_cidrs):
            message = f"leaves out podSubnet {subnet}: pods see other nodes' pods masqueraded"
            hint = "ip-masq-agent knows no pod network: name it among nonMasqueradeCIDRs"
            path = (*_EGRESS, "nonMasqueradeCIDRs")
            yield sources.place.problem(path, message, hint, warning=True)


def _holds(outer: IPNetwork, inner: IPNetwork) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]
