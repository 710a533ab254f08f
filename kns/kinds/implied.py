"""The Lab document that plain manifests without one get, and several files as one text."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import PurePath
from typing import cast

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kinds import names
from kns.kinds.api import is_own
from kns.kinds.networking import Networking
from kns.kinds.networks import networks
from kns.kinds.objects import items, part
from kns.labfile.document import Document
from kns.labfile.objects import objects_in
from kns.labfile.reader import JSON

#: what messages call it
IMPLIED = "(added Lab document)"
_NODES = 2
_VERSIONS = {str(family): family.version for family in IPFamily}
#: a lab's own service subnets, by IP version
_DEFAULT: dict[int, IPNetwork] = {
    net.version: net for net in networks(Networking(ip_family="dual")).service
}
#: kubeadm's, where that is another one
_KUBEADM = {4: IPv4Network("10.96.0.0/12")}
#: kube-apiserver takes no larger ones: 20 bits of hosts
_WIDEST = {4: 12, 6: 108}
#: the label that every node has its name in
_HOSTNAME = "kubernetes.io/hostname"


def is_lab(document: Document) -> bool:
    """A Lab, or what was meant as one: the fields of a lab under no or another kind."""
    data = document.data
    if not isinstance(data, dict):
        return False
    kind = data.get("kind")
    return kind == "Lab" or "nodes" in data or str(data.get("apiVersion")).startswith("kns/")


def is_manifests(documents: Sequence[Document]) -> bool:
    """Whether they are Kubernetes objects alone: all say their kind, and none is a Lab."""
    if any(is_lab(document) for document in documents):
        return False
    return has_manifests(documents) and not any(objects_in(document)[1] for document in documents)


def has_manifests(documents: Sequence[Document]) -> bool:
    """Whether an object that Kubernetes has is among them."""
    items = (item for document in documents for item in objects_in(document)[0])
    return any(is_own(item) and item.api_version for item in items)


def implied_lab(file: str, documents: Sequence[Document]) -> str:
    """A Lab document of two nodes, named as the file; nodes that pods name are among them.

    Its subnets hold the cluster IPs that Services have, as those of a running cluster's dump do.
    """
    wanted = dict.fromkeys((*_node_names(documents), *(f"node{n + 1}" for n in range(_NODES))))
    named = list(wanted)[: max(_NODES, len(wanted) - _NODES)]
    # in quotes: 13 and true are strings, too
    nodes = ", ".join(f'{{name: "{name}"}}' for name in named)
    name = f'"{_name(file)}"'
    head = f"apiVersion: kns/v1\nkind: Lab\nmetadata: {{name: {name}}}\nnodes: [{nodes}]\n"
    networking = ", ".join(f"{key}: {value}" for key, value in _networking(documents).items())
    return f"{head}networking: {{{networking}}}\n" if networking else head


def implied_note(file: str, lab: Document) -> str:
    """What is said of it."""
    data = lab.data if isinstance(lab.data, dict) else {}
    made = [data["metadata"]["name"], *(node["name"] for node in data["nodes"])]
    made += [f"{key} {value}" for key, value in data.get("networking", {}).items()]
    return f"{file} has no Lab document: made for it is the lab {', '.join(made)}"


def _name(file: str) -> str:
    """A lab's name made of a file's."""
    stem = PurePath(file).stem
    made = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40].strip("-")
    return made if made and not file.startswith("<") else "lab"


def _specs(documents: Sequence[Document]) -> Iterator[tuple[str, JSON]]:
    """The kind and the `spec` of each object."""
    for document in documents:
        for item in objects_in(document)[0]:
            yield item.kind, part(cast("JSON", item.data), "spec")


def _node_names(documents: Sequence[Document]) -> Iterator[str]:
    """The nodes that pods of the documents name, or those that workloads make."""
    for kind, spec in _specs(documents):
        for pod in (spec if kind == "Pod" else None, part(spec, "template", "spec")):
            for name in (part(pod, "nodeName"), part(pod, "nodeSelector", _HOSTNAME)):
                if isinstance(name, str) and name and not names.subdomain_objection(name):
                    yield name


def _networking(documents: Sequence[Document]) -> dict[str, str]:
    """What of `networking` Services ask for, where that is not the default."""
    specs = [spec for kind, spec in _specs(documents) if kind == "Service"]
    addresses = [address for spec in specs for address in _cluster_ips(spec)]
    families: list[int] = []
    for spec in specs:
        listed = map(str, items(spec, "ipFamilies"))
        families += [_VERSIONS[name] for name in listed if name in _VERSIONS]
        families += [address.version for address in _cluster_ips(spec)]
    if any(part(spec, "ipFamilyPolicy") == "RequireDualStack" for spec in specs):
        families += _VERSIONS.values()
    # the family of the first one is the primary one: of a cluster, and of the subnets
    ordered = tuple(dict.fromkeys(families)) or (4,)
    made = {} if ordered == (4,) else {"ipFamily": "dual" if len(ordered) > 1 else "ipv6"}
    subnets = [_subnet(version, addresses) for version in ordered]
    if ordered == (6, 4) or any(net != _DEFAULT[net.version] for net in subnets):
        made["serviceSubnet"] = f'"{",".join(map(str, subnets))}"'
    return made


def _cluster_ips(spec: JSON) -> Iterator[IPAddress]:
    for text in (part(spec, "clusterIP"), *items(spec, "clusterIPs")):
        with contextlib.suppress(ValueError):
            yield ip_address(str(text))


def _subnet(version: int, addresses: Sequence[IPAddress]) -> IPNetwork:
    """The subnet that holds all cluster IPs of a family; the default one where none does."""
    wanted = [address for address in addresses if address.version == version]
    default = _DEFAULT[version]
    widened = (
        ip_network((wanted[0], length), strict=False)
        for length in range(default.prefixlen, _WIDEST[version] - 1, -1)
    )
    nets = itertools.chain((default, _KUBEADM.get(version, default)), widened)
    return next((net for net in nets if all(address in net for address in wanted)), default)


def joined(texts: Sequence[str]) -> str:
    """Texts of YAML as one stream; one alone stays as it is."""
    first, *rest = texts
    return first + "".join(f"\n...\n{_begun(text.removeprefix(_BOM))}" for text in rest)


_BOM = "\ufeff"


def _begun(text: str) -> str:
    """A text whose first document begins explicitly, as each but a stream's first one must."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return text if next(lines, "").startswith("%") else f"---\n{text}"
