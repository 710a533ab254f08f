"""Node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kinds.common import Labels, Object, metadata
from kns.kinds.fields import (
    ADDRESS,
    ADDRESSES,
    ANY_TEXT,
    CIDR,
    CIDR_LIST,
    DUAL_STACK_CIDRS,
    LABEL_VALUE,
    LABELS_FIELD,
    METADATA_PATHS,
    OBJECT_NAME,
)
from kns.kinds.scheduling import TAINT, Taint
from kns.labfile.reader import JSON, DocumentKind, ListOf, Reading
from kns.labfile.shape import Field, Form, Shape

ZONE_LABEL = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `addresses` are its InternalIPs, one for each family, the primary family first.

    `host_addresses` are further addresses on the node's links, which node ports and source
    ranges take into account (for example cni0's, or a second NIC's).
    """

    name: str
    addresses: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...] = ()
    labels: Labels = field(default_factory=dict)
    host_addresses: tuple[IPAddress, ...] = ()
    taints: tuple[Taint, ...] = ()

    @property
    def zone(self) -> str:
        """The value of topology.kubernetes.io/zone, or nothing."""
        return self.labels.get(ZONE_LABEL, "")

    def address(self, family: IPFamily) -> IPAddress | None:
        """Its InternalIP of that family."""
        return next((a for a in self.addresses if a.version == family.version), None)


# -- reading ---------------------------------------------------------------------------------------


def _short(  # noqa: PLR0913 - the fields of a node in the Lab document
    *,
    name: str,
    labels: Labels | None = None,
    zone: str = "",
    address: IPAddress | None = None,
    addresses: tuple[IPAddress, ...] = (),
    pod_cidr: IPNetwork | None = None,
    pod_cidrs: tuple[IPNetwork, ...] = (),
    taints: tuple[Taint, ...] = (),
) -> Node:
    """A node of the Lab document; `written_addresses` gives the place of each address."""
    return Node(
        name,
        addresses if address is None else (address, *addresses),
        pod_cidrs if pod_cidr is None or pod_cidr in pod_cidrs else (pod_cidr, *pod_cidrs),
        {**(labels or {}), ZONE_LABEL: zone} if zone else labels or {},
        taints=taints,
    )


SHAPE = Shape(
    _short,
    Field("name", OBJECT_NAME, required=True),
    LABELS_FIELD,
    Field("zone", LABEL_VALUE, default=""),
    Field("address", ADDRESS, default=None),
    Field("addresses", ADDRESSES, default=[]),
    Field("podCIDR", CIDR, default=None),
    Field("podCIDRs", CIDR_LIST),
    Field("taints", ListOf(TAINT)),
    of=Node,
    doc="A node.",
)


class _Address(NamedTuple):
    """One entry of `status.addresses`: an IP address or, by its type, a name."""

    type: str
    ip: IPAddress | None


def _listed(type: str, address: str) -> _Address:  # noqa: A002 - the field's name
    return _Address(type, ADDRESS.read(address, _SERVED) if type.endswith("IP") else None)


_SERVED = Reading(DocumentKind.SERVER)
_ADDRESS = Shape(
    _listed,
    Field("type", ANY_TEXT, required=True),
    Field("address", ANY_TEXT, required=True),
    title="NodeAddress",
)


def _manifest(
    name: str,
    labels: Labels | None = None,
    listed: Sequence[_Address] = (),
    pod_cidr: IPNetwork | None = None,
    pod_cidrs: tuple[IPNetwork, ...] = (),
    taints: tuple[Taint, ...] = (),
) -> Node:
    """A Node object, with addresses as component-helpers' GetNodeHostIPs picks them.

    Internal ones before external ones, the first of each family; the rest of the internal ones are
    addresses of the host, too.
    """
    internal = [entry.ip for entry in listed if entry.type == "InternalIP" and entry.ip]
    external = [entry.ip for entry in listed if entry.type == "ExternalIP" and entry.ip]
    first: dict[int, IPAddress] = {}
    for address in (*internal, *external):
        first.setdefault(address.version, address)
    return Node(
        name,
        tuple(first.values()),
        pod_cidrs or ((pod_cidr,) if pod_cidr is not None else ()),
        labels or {},
        tuple(address for address in internal if address not in first.values()),
        taints,
    )


FORM = Form(
    Shape(
        _manifest,
        Field("name", OBJECT_NAME, required=True),
        LABELS_FIELD,
        Field("podCIDR", CIDR),
        Field("podCIDRs", DUAL_STACK_CIDRS),
        Field("taints", ListOf(TAINT)),
        Field("addresses", ListOf(_ADDRESS), "listed"),
        of=Node,
    ),
    {
        **METADATA_PATHS,
        "podCIDR": ("spec", "podCIDR"),
        "podCIDRs": ("spec", "podCIDRs"),
        "taints": ("spec", "taints"),
        "addresses": ("status", "addresses"),
    },
)


# -- writing ---------------------------------------------------------------------------------------


def write(node: Node) -> Object:
    """A v1 Node with the addresses that it has, which reads as the same one again."""
    cidrs: list[JSON] = [str(cidr) for cidr in node.pod_cidrs]
    spec: Object = {"podCIDR": cidrs[0], "podCIDRs": cidrs} if cidrs else {}
    if node.taints:
        spec["taints"] = [
            {"key": taint.key, "value": taint.value, "effect": str(taint.effect)}
            for taint in node.taints
        ]
    addresses: list[JSON] = [
        {"type": "InternalIP", "address": str(address)} for address in node.addresses
    ]
    addresses.append({"type": "Hostname", "address": node.name})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(node.name, "", node.labels),
        "spec": spec,
        "status": {"addresses": addresses},
    }
