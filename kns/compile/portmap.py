"""hostPort: the CNI plugin portmap's rules, as flannel's and other conflists chain it.

    nat PREROUTING, OUTPUT    -m addrtype --dst-type LOCAL → CNI-HOSTPORT-DNAT
    CNI-HOSTPORT-DNAT         the pod's host ports → CNI-DN-…   one chain for each pod
    CNI-DN-…                  hairpin, localhost → CNI-HOSTPORT-SETMARK; DNAT to the pod
    nat POSTROUTING           → CNI-HOSTPORT-MASQ   what is marked is masqueraded; first of all

The rules stand behind kube-proxy's, which are there before any pod: a node port wins. In every
mode of kube-proxy they are iptables', which is the plugin's own choice where there are any.
A chain's name is a hash of the network's name and the container's id; the id is here a hash of
lab and pod, so that it is always the same.

Source: containernetworking/plugins v1.6 plugins/meta/portmap (portmap_iptables.go, chain.go).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.cables import interface
from kns.kinds.node import Node
from kns.kinds.pod import ContainerPort, Pod
from kns.state.model import Chain, IptablesTable, Netns, Sysctl

#: the network's name in flannel's own conflist
NETWORK = "cbr0"
#: multiport takes no more
_PORTS_MAX = 15
_MARK = "0x2000/0x2000"
_LOCAL = "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"
_MASQ = '-m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ'


def masquerade(cluster: Cluster, node: Node, pods: Sequence[Pod]) -> Netns:
    """The rule that stands before all others of POSTROUTING."""
    chain = Chain("POSTROUTING", (_MASQ,), "ACCEPT")
    return _netns(cluster, node, (IptablesTable(f, "nat", (chain,)) for f in _families(node, pods)))


def on_node(cluster: Cluster, node: Node, pods: Sequence[Pod]) -> Netns:
    """The chains of the node's pods that have host ports; nothing where none has."""
    tables = tuple(_table(cluster, node, pods, family) for family in _families(node, pods))
    netns = _netns(cluster, node, tables)
    if not any(table.family is IPFamily.IPV4 for table in tables):
        return netns
    # 127.0.0.1 may leave by the bridge: without it a packet from localhost is a martian
    sysctls = (Sysctl("ipv4/conf/cni0/route_localnet", "1"),)
    return Netns(netns.name, iptables=netns.iptables, sysctls=sysctls)


def mapped(pod: Pod) -> tuple[ContainerPort, ...]:
    """The pod's ports that have a host port; in the host network there is nothing to map."""
    if pod.host_network:
        return ()
    return tuple(p for container in pod.containers for p in container.ports if p.host_port)


def _netns(cluster: Cluster, node: Node, tables: Iterable[IptablesTable]) -> Netns:
    return Netns(names.netns_of_node(cluster.name, node.name), iptables=tuple(tables))


def _families(node: Node, pods: Sequence[Pod]) -> tuple[IPFamily, ...]:
    """Those in which some pod of the node has a host port."""
    addresses = [a for pod in pods if pod.node == node.name and mapped(pod) for a in pod.addresses]
    return tuple(f for f in IPFamily if any(a.version == f.version for a in addresses))


def _table(cluster: Cluster, node: Node, pods: Sequence[Pod], family: IPFamily) -> IptablesTable:
    entries: list[str] = []
    chains: list[Chain] = []
    for pod in pods:
        address = pod.address(family)
        if address is not None and mapped(pod):
            name = _chain(_container_id(cluster, pod))
            entries += _entries(mapped(pod), name, _container_id(cluster, pod))
            chains.append(Chain(name, tuple(_rules(node, mapped(pod), address))))
    mark = f'-m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark {_MARK}'
    return IptablesTable(
        family,
        "nat",
        (
            Chain("PREROUTING", (_LOCAL,), "ACCEPT"),
            Chain("OUTPUT", (_LOCAL,), "ACCEPT"),
            Chain("CNI-HOSTPORT-SETMARK", (mark,)),
            Chain("CNI-HOSTPORT-MASQ", (f"-m mark --mark {_MARK} -j MASQUERADE",)),
            Chain("CNI-HOSTPORT-DNAT", tuple(entries)),
            *chains,
        ),
    )


def _container_id(cluster: Cluster, pod: Pod) -> str:
    """What a runtime would have drawn for the pod's sandbox."""
    return hashlib.sha256(f"{cluster.name}/{pod.full_name}".encode()).hexdigest()


def _chain(container_id: str) -> str:
    """utils.MustFormatChainNameWithPrefix: 28 characters in all."""
    return f"CNI-DN-{hashlib.sha512(f'{NETWORK}{container_id}'.encode()).hexdigest()}"[:28]


def _entries(ports: Sequence[ContainerPort], chain: str, container_id: str) -> Iterator[str]:
    comment = f'-m comment --comment "dnat name: \\"{NETWORK}\\" id: \\"{container_id}\\""'
    by_protocol = sorted(ports, key=lambda port: str(port.protocol).lower())
    for protocol, group in groupby(by_protocol, key=lambda port: str(port.protocol).lower()):
        numbers = [str(port.host_port) for port in group]
        for start in range(0, len(numbers), _PORTS_MAX):
            chosen = ",".join(numbers[start : start + _PORTS_MAX])
            yield f"-p {protocol} {comment} -m multiport --dports {chosen} -j {chain}"


def _rules(node: Node, ports: Sequence[ContainerPort], address: IPAddress) -> Iterator[str]:
    """Hairpin and localhost are marked: the pod would answer them past the node."""
    version = address.version
    bits = 32 if version == 4 else 128
    net = interface(address, node.pod_cidrs).network
    at = f"{address}" if version == 4 else f"[{address}]"
    for port in ports:
        if port.host_ip is not None and port.host_ip.version != version:
            continue
        protocol = str(port.protocol).lower()
        given = port.host_ip is not None and not port.host_ip.is_unspecified
        where = f"-d {port.host_ip}/{bits} " if given else ""
        match = f"-p {protocol} -m {protocol} --dport {port.host_port}"
        yield f"-s {net} {where}{match} -j CNI-HOSTPORT-SETMARK"
        if version == 4:
            yield f"-s 127.0.0.1/32 {where}{match} -j CNI-HOSTPORT-SETMARK"
        yield f"{where}{match} -j DNAT --to-destination {at}:{port.port}"
