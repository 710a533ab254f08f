"""Services as kube-proxy's IPVS mode makes them, on one node.

    kube-ipvs0        a dummy device, down, that holds every service address: so the node takes
                      packets to them in, and IPVS sees them in INPUT
    virtual servers   one an address and port: cluster, external and balancer IPs, and every local
                      address for a node port; with the endpoints as real servers
    ipsets, iptables  what is masqueraded and what is refused (ipvs_sets.py, ipvs_iptables.py)

Without endpoints a virtual server has no real servers, and IPVS itself answers "port unreachable".
A policy Local without local endpoints falls back to all endpoints, unlike in the other modes.

Source: pkg/proxy/ipvs/proxier.go (syncProxyRules, syncEndpoint) of Kubernetes v1.30.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.compile import names
from kns.compile.proxy.base import Objects, Proxy, ProxyRules, start_sysctls
from kns.compile.proxy.endpoints import ServicePortView, service_ports
from kns.compile.proxy.ipvs_iptables import Blocked, Masquerading, ipvs_tables
from kns.compile.proxy.ipvs_rules import IpvsRules
from kns.compile.proxy.ipvs_sets import NODE_PORTS, SetName, Sets, ip_port, node_port_entries
from kns.compile.proxy.ipvs_text import render_text
from kns.compile.proxy.on_node import local_detector, node_port_cidrs, proxy_node_ip
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.networking import IPVSOptions, KubeProxyOptions, ProxyMode
from kns.kinds.node import Node
from kns.kinds.service import Service, SessionAffinity
from kns.state.model import (
    Address,
    Dummy,
    IpvsTimeouts,
    Link,
    Netns,
    RealServer,
    RuleNames,
    Sysctl,
    VirtualServer,
)
from kns.state.requirements import Feature, Need, Tool

#: proxier.go defaultDummyDevice
DEVICE = "kube-ipvs0"
#: pkg/util/ipvs FlagSourceHash: the scheduler mh hashes the source port too (linux: MH_PORT)
SOURCE_HASH = 0x10


_IP_SET = Feature(
    "ip_set",
    Need.OPTIONAL,
    "kubeProxyMode: ipvs",
    ("ipset", "create", "kns", "hash:ip,port"),
    "ip_set_hash_ipport",
)
_DUMMY = Feature(
    "dummy",
    Need.OPTIONAL,
    "kubeProxyMode: ipvs (kube-ipvs0)",
    ("ip", "link", "add", "name", "kns0", "type", "dummy"),
    "dummy",
)


class IpvsProxy(Proxy):
    """kube-proxy's mode ipvs."""

    MODE = ProxyMode.IPVS
    TOOLS = (
        Tool("ipset", Need.OPTIONAL, "kubeProxyMode: ipvs"),
        Tool("ipvsadm", Need.OPTIONAL, "looking at kubeProxyMode: ipvs"),
    )
    FEATURES = (
        _IP_SET,
        _DUMMY,
        Feature(
            "ipvs",
            Need.OPTIONAL,
            "kubeProxyMode: ipvs",
            module="ip_vs ip_vs_rr ip_vs_wrr ip_vs_sh",
            shown_by="net/ip_vs",
        ),
    )
    # netlink loads neither ip_vs nor its sysctls, so trying it loads it
    REQUIRED = (
        Feature(
            "ip_vs",
            Need.REQUIRED,
            "kubeProxyMode: ipvs",
            ("sh", "-c", "test -e /proc/net/ip_vs || modprobe -q ip_vs"),
            "ip_vs",
        ),
        _DUMMY,
        _IP_SET,
    )
    ALTERNATIVE = "iptables and nftables modes need none of it"
    CONNECTIONS_OUTLIVE = False
    # as pkg/proxy/ipvs/graceful_termination.go does it, of Kubernetes v1.30
    DRAINS = True
    OWN = RuleNames(ipset_prefix="KUBE-")

    def on_node(
        self,
        name: str,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        before: ProxyRules | None = None,  # noqa: ARG002 - this mode compiles all of it each time
    ) -> ProxyRules:
        """Sets, tables, the dummy device and the virtual servers of both families."""
        rules = self._rules(objects, node, options, IPFamily)
        own = start_sysctls(options, strict_arp=options.ipvs.strict_arp)
        space = Netns(
            name,
            links=tuple(
                replace(link, mac=names.mac(f"{name}/{link.name}")) for link in rules.links
            ),
            addresses=rules.addresses,
            sysctls=(*own, *rules.sysctls),
            iptables=rules.tables,
            ipsets=rules.ipsets,
            virtual_servers=rules.virtual_servers,
            ipvs_timeouts=rules.timeouts,
            ipvs_exclude=options.ipvs.exclude_cidrs,
        )
        return ProxyRules(space)

    def render(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> str:
        """A part for each program, each under a comment line that names it."""
        return render_text(self._rules(objects, node, options, families))

    def _rules(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> IpvsRules:
        services, slices = objects.services, objects.endpoint_slices
        each = (ipvs_rules(services, slices, node, options, family) for family in families)
        return functools.reduce(IpvsRules.joined, each)

    def is_in(self, space: Netns) -> bool:
        """Virtual servers, or the sets that every node has."""
        return bool(space.virtual_servers) or any(
            item.name.startswith(self.OWN.ipset_prefix) for item in space.ipsets
        )


def ipvs_rules(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    node: Node,
    options: KubeProxyOptions,
    family: IPFamily,
) -> IpvsRules:
    """What kube-proxy in IPVS mode makes on `node` for one family."""
    work = _Work(node, options, family)
    for view in service_ports(services, slices, node, options, family):
        work.add(view)
    masquerading = Masquerading(
        bit=options.masquerade_bit,
        everything=options.masquerade_all,
        detector=local_detector(options, node, family),
    )
    return IpvsRules(
        tables=ipvs_tables(work.sets, masquerading, work.blocked),
        ipsets=work.sets.frozen(),
        virtual_servers=tuple(work.servers[key] for key in sorted(work.servers)),
        links=(Link(DEVICE, Dummy(), up=False),),
        addresses=tuple(Address(DEVICE, _host(ip)) for ip in sorted(work.bound, key=int)),
        sysctls=_sysctls(options.ipvs),
        timeouts=IpvsTimeouts(
            options.ipvs.tcp_timeout, options.ipvs.tcp_fin_timeout, options.ipvs.udp_timeout
        ),
    )


def _host(address: IPAddress) -> IPv4Interface | IPv6Interface:
    return ip_interface(ip_network(address).with_prefixlen)


def _sysctls(options: IPVSOptions) -> tuple[Sysctl, ...]:
    """What kube-proxy writes at its start; conn_reuse_mode only on kernels before 5.9.

    Strict ARP: kube-ipvs0 makes every service address local, and without it the node would answer
    ARP for them on every link.
    """
    values = {
        # what IPVS translates has to be a connection of conntrack's for iptables to masquerade it
        "ipv4/vs/conntrack": 1,
        # a connection to a real server that is gone ends with its next packet
        "ipv4/vs/expire_nodest_conn": 1,
        # an affine client of a real server that is going away gets another
        "ipv4/vs/expire_quiescent_template": 1,
    }
    if options.strict_arp:
        values |= {"ipv4/conf/all/arp_ignore": 1, "ipv4/conf/all/arp_announce": 2}
    return tuple(Sysctl(key, str(value)) for key, value in values.items())


def node_ips(node: Node, options: KubeProxyOptions, family: IPFamily) -> tuple[IPAddress, ...]:
    """The local addresses that take node ports: all but loopback, or `--nodeport-addresses`."""
    cidrs = node_port_cidrs(options, node, family)
    own = {
        ip
        for ip in (*node.addresses, *node.host_addresses)
        if ip.version == family.version and not ip.is_loopback
    }
    return tuple(ip for ip in sorted(own, key=int) if not cidrs or any(ip in c for c in cidrs))


class _Work:
    """The virtual servers, bound addresses and sets of one family while services are added."""

    def __init__(self, node: Node, options: KubeProxyOptions, family: IPFamily) -> None:
        self.sets = Sets(family)
        self.servers: dict[tuple[str, int, int], VirtualServer] = {}
        self.bound: set[IPAddress] = set()
        self.blocked: list[Blocked] = []
        self._scheduler = options.ipvs.scheduler
        self._node_ip = proxy_node_ip(node, family)
        self._node_ips = node_ips(node, options, family)
        self._own = {*node.addresses, *node.host_addresses}

    def add(self, view: ServicePortView) -> None:
        """Add a service port."""
        for endpoint in view.all_local:
            entry = ip_port(endpoint.address, view.port.protocol, endpoint.port)
            self.sets.add(SetName.LOOP_BACK, f"{entry},{endpoint.address}")
        internal, local = view.internal_policy_local, view.external_policy_local
        self._add_address(SetName.CLUSTER_IP, view, view.cluster_ip, local=internal)
        external_set = SetName.EXTERNAL_IP_LOCAL if local else SetName.EXTERNAL_IP
        for address in view.external_ips:
            self._add_address(external_set, view, address, local=local)
        for address in view.load_balancer_ips:
            self._add_balancer(view, address)
        self._add_node_port(view)

    def _add_address(
        self, name: SetName, view: ServicePortView, address: IPAddress, *, local: bool
    ) -> None:
        self.sets.add(name, ip_port(address, view.port.protocol, view.port.port))
        if name is SetName.CLUSTER_IP or address not in self._own:
            # an address of another device must not be on the dummy as well
            self.bound.add(address)
            self.sets.add(SetName.IPVS_IPS, str(address))
        self._add_server(view, address, view.port.port, local=local)

    def _add_balancer(self, view: ServicePortView, address: IPAddress) -> None:
        protocol, port = view.port.protocol, view.port.port
        entry = ip_port(address, protocol, port)
        local = view.external_policy_local
        self._add_address(SetName.LOAD_BALANCER, view, address, local=local)
        if local:
            self.sets.add(SetName.LOAD_BALANCER_LOCAL, entry)
        if not view.source_ranges:
            return
        self.sets.add(SetName.LOAD_BALANCER_FW, entry)
        for text in view.source_ranges:
            for part in _as_entry(ip_network(text)):
                self.sets.add(SetName.LOAD_BALANCER_SOURCE_CIDR, f"{entry},{part}")
        if any(self._node_ip in ip_network(text) for text in view.source_ranges):
            self.sets.add(SetName.LOAD_BALANCER_SOURCE_IP, f"{entry},{address}")
        else:
            self.blocked.append(Blocked(address, protocol, port))

    def _add_node_port(self, view: ServicePortView) -> None:
        protocol, number, local = view.port.protocol, view.port.node_port, False
        if number:
            if not self._node_ips:
                return
            local = view.external_policy_local
            every, local_only = NODE_PORTS[protocol]
            for entry in node_port_entries(protocol, number, self._node_ips):
                self.sets.add(every, entry)
                if local:
                    self.sets.add(local_only, entry)
            for address in self._node_ips:
                self._add_server(view, address, number, local=local)
        if view.health_check_node_port:
            self.sets.add(SetName.HEALTH_CHECK_NODE_PORT, str(view.health_check_node_port))

    def _add_server(
        self, view: ServicePortView, address: IPAddress, port: int, *, local: bool
    ) -> None:
        endpoints = (view.local or view.cluster) if local else view.cluster
        affine = view.service.session_affinity is SessionAffinity.CLIENT_IP
        protocol = view.port.protocol.lower()
        servers = {(int(e.address), e.port): e for e in endpoints}
        self.servers[protocol, int(address), port] = VirtualServer(
            protocol=protocol,
            address=address,
            port=port,
            scheduler=self._scheduler,
            persistent=view.service.session_affinity_timeout if affine else 0,
            flags=SOURCE_HASH if self._scheduler == "mh" else 0,
            real_servers=tuple(
                RealServer(servers[key].address, servers[key].port) for key in sorted(servers)
            ),
        )


def _as_entry(network: IPNetwork) -> tuple[str, ...]:
    """A network as `ipset save` prints it: a single address without its length.

    A set of networks can't hold the one of length 0; its two halves say the same.
    """
    if network.prefixlen == 0:
        return tuple(str(half) for half in network.subnets())
    if network.prefixlen == network.max_prefixlen:
        return (str(network.network_address),)
    return (str(network),)
