"""The networking of a lab: what its file says under `networking` and `loadBalancer`.

kube-proxy's options are under the names of its configuration file and flags. Subnets left out get
the defaults of their family in `kns.kinds.networks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal

from kns.addresses import IPAddress, IPNetwork
from kns.kinds.common import Labels
from kns.kinds.fields import (
    ADDRESSES,
    CIDR_LIST,
    CIDRS,
    FLAG,
    INTERFACE_NAME,
    LABELS,
    NAMESPACE_FIELD,
    NODE_PORT_ADDRESS,
    PORT_RANGE,
    SECONDS,
    SUBDOMAIN,
)
from kns.kinds.release import NEWEST, Release
from kns.labfile.reader import Choice, Integer, ListOf
from kns.labfile.shape import Field, Shape

EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class ProxyMode(StrEnum):
    """kube-proxy's `--proxy-mode`."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"


class DetectLocalMode(StrEnum):
    """kube-proxy's `--detect-local-mode`."""

    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


class PodNetworkMode(StrEnum):
    """How packets reach the pods of other nodes, named as flannel's backends."""

    HOST_GW = "host-gw"
    VXLAN = "vxlan"

    @property
    def has_device(self) -> bool:
        """True if a device of its own, with the .0 of the node's pod CIDR, leads to other nodes."""
        return self is not PodNetworkMode.HOST_GW


@dataclass(frozen=True, slots=True)
class IPVSOptions:
    """kube-proxy's `ipvs` options; timeouts in seconds, 0 leaves the kernel's own."""

    scheduler: str = "rr"
    strict_arp: bool = False
    tcp_timeout: int = 0
    tcp_fin_timeout: int = 0
    udp_timeout: int = 0
    exclude_cidrs: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class NFTablesOptions:
    """The `nftables` section of kube-proxy's configuration file.

    `--iptables-masquerade-bit` sets the `iptables` section only, and so did `--masquerade-all`
    once: nftables mode does not see them.
    """

    masquerade_all: bool = False
    masquerade_bit: int = 14


class NfacctUse(StrEnum):
    """Whether iptables mode counts packets by nfacct objects, as kube-proxy does since 1.31."""

    #: where the kernel has them, as kube-proxy itself decides
    AUTO = "auto"
    ON = "on"
    OFF = "off"


#: the first release that counts packets by nfacct objects
NFACCT_SINCE = Release.V1_31
#: the first release that matches interfaces by name in nftables mode, a prefix of one too
INTERFACES_BY_NAME_SINCE = Release.V1_33
#: the first release with the gate AllowServiceExternalIPs
EXTERNAL_IPS_GATE_SINCE = Release.V1_36


@dataclass(frozen=True, slots=True)
class FeatureGates:
    """kube-proxy's feature gates that change rules."""

    #: off: addresses in externalIPs of Services are left alone
    allow_service_external_ips: bool = True


@dataclass(frozen=True, slots=True)
class KubeProxyOptions:
    """kube-proxy's options that change rules; defaults are kube-proxy's own."""

    mode: ProxyMode = ProxyMode.IPTABLES
    cluster_cidrs: tuple[IPNetwork, ...] = ()
    detect_local_mode: DetectLocalMode = DetectLocalMode.CLUSTER_CIDR
    pod_bridge_interface: str = ""
    pod_interface_name_prefix: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    #: empty: every local address (nftables: the node's primary ones)
    nodeport_addresses: tuple[IPNetwork, ...] = ()
    localhost_nodeports: bool = True
    conntrack_tcp_be_liberal: bool = False
    ipvs: IPVSOptions = field(default_factory=IPVSOptions)
    #: `--nodeport-addresses=primary`: the node's own address of each family
    nodeport_addresses_primary: bool = False
    nftables: NFTablesOptions = field(default_factory=NFTablesOptions)
    version: Release = NEWEST
    #: off: the same file gives the same rules on every kernel
    nfacct: NfacctUse = NfacctUse.OFF
    feature_gates: FeatureGates = field(default_factory=FeatureGates)

    @property
    def interface_refused(self) -> bool:
        """True if nft refuses each rule that asks for pods' interfaces: `iif` takes no prefix."""
        is_prefix = self.detect_local_mode is DetectLocalMode.INTERFACE_NAME_PREFIX
        is_old = self.version < INTERFACES_BY_NAME_SINCE
        return self.mode is ProxyMode.NFTABLES and is_prefix and is_old

    @property
    def masquerades_all(self) -> bool:
        """True if the mode's section has every client of a cluster IP masqueraded."""
        of_nftables = self.mode is ProxyMode.NFTABLES
        return self.nftables.masquerade_all if of_nftables else self.masquerade_all


@dataclass(frozen=True, slots=True)
class EgressGateway:
    """A node by which chosen pods leave the cluster, with its address.

    Pods of `namespace` with all labels of `selector`, whatever they are if it is empty. Only their
    own connections to one of `destination_cidrs` and none of `excluded_cidrs` go this way.
    """

    node: str
    namespace: str = "default"
    selector: Labels = field(default_factory=dict)
    destination_cidrs: tuple[IPNetwork, ...] = ()
    excluded_cidrs: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class EgressOptions:
    """How pods leave the cluster.

    With `non_masquerade_cidrs` ip-masq-agent translates what goes anywhere else; without them
    flannel what leaves its network. The first of `gateways` that chooses a pod is the pod's.
    """

    masquerade: bool = True
    non_masquerade_cidrs: tuple[IPNetwork, ...] = ()
    #: ip-masq-agent's masqLinkLocal: link-local destinations are translated too
    masq_link_local: bool = False
    gateways: tuple[EgressGateway, ...] = ()


@dataclass(frozen=True, slots=True)
class DNSOptions:
    """Cluster DNS. `service_ips` are the Service kube-dns' addresses, one for each family."""

    enabled: bool = True
    domain: str = "cluster.local"
    service_ips: tuple[IPAddress, ...] = ()
    replicas: int = 2
    upstream: tuple[IPAddress, ...] = ()
    pod_records: str = "insecure"
    ttl: int = 30
    server: str = "builtin"


#: kubeadm's names of cluster DNS: its namespace, Service and Deployment, the label of its pods
DNS_NAMESPACE, DNS_SERVICE, DNS_DEPLOYMENT = "kube-system", "kube-dns", "coredns"
DNS_LABEL = ("k8s-app", "kube-dns")

#: of a balancer without a pool (RFC 5737, RFC 3849)
DEFAULT_POOLS: tuple[IPNetwork, ...] = (
    IPv4Network("198.51.100.0/24"),
    IPv6Network("2001:db8:198::/112"),
)


@dataclass(frozen=True, slots=True)
class LoadBalancerOptions:
    """Who answers for LoadBalancer addresses (`l2`, `bgp` or `proxy`), and their pools."""

    mode: str = "l2"
    pools: tuple[IPNetwork, ...] = DEFAULT_POOLS


@dataclass(frozen=True, slots=True)
class Networking:
    """The cluster's networking; subnets left out get the defaults of their family."""

    ip_family: str = "ipv4"
    pod_subnet: tuple[IPNetwork, ...] = ()
    service_subnet: tuple[IPNetwork, ...] = ()
    node_subnet: tuple[IPNetwork, ...] = ()
    internet_subnet: tuple[IPNetwork, ...] = ()
    node_cidr_mask_size: int | None = None
    node_cidr_mask_size_ipv6: int | None = None
    pod_network: PodNetworkMode = PodNetworkMode.HOST_GW
    mtu: int = 1500
    node_port_range: tuple[int, int] = (30000, 32767)
    cluster_domain: str = ""
    kube_proxy: KubeProxyOptions = field(default_factory=KubeProxyOptions)
    dns: DNSOptions = field(default_factory=DNSOptions)
    egress: EgressOptions = field(default_factory=EgressOptions)


# -- reading ---------------------------------------------------------------------------------------

_BIT = Integer(0, 31)
_SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh")


def _kube_proxy(
    node_port_addresses: tuple[IPNetwork | Literal["primary"], ...] = (), **rest: Any
) -> KubeProxyOptions:
    """nftables mode reads a section of its own; a file that has none means every mode."""
    options = KubeProxyOptions(
        nodeport_addresses=tuple(a for a in node_port_addresses if not isinstance(a, str)),
        nodeport_addresses_primary="primary" in node_port_addresses,
        **rest,
    )
    if "nftables" in rest:
        return options
    return replace(
        options, nftables=NFTablesOptions(options.masquerade_all, options.masquerade_bit)
    )


def _gateway(
    node: str, destination_cidrs: tuple[IPNetwork, ...] = (), **rest: Any
) -> EgressGateway:
    return EgressGateway(node, destination_cidrs=destination_cidrs or EVERYWHERE, **rest)


def _networking(
    kube_proxy_mode: ProxyMode = ProxyMode.IPTABLES,
    kube_proxy: KubeProxyOptions | None = None,
    **rest: Any,
) -> Networking:
    options = replace(kube_proxy or KubeProxyOptions(), mode=kube_proxy_mode)
    return Networking(kube_proxy=options, **rest)


_IPVS = Shape(
    IPVSOptions,
    Field("scheduler", Choice(_SCHEDULERS)),
    Field("strictARP", FLAG),
    Field("tcpTimeout", SECONDS),
    Field("tcpFinTimeout", SECONDS),
    Field("udpTimeout", SECONDS),
    Field("excludeCIDRs", CIDR_LIST),
    title="IPVS",
    patient=True,
)
_NFTABLES = Shape(
    NFTablesOptions,
    Field("masqueradeAll", FLAG),
    Field("masqueradeBit", _BIT),
    title="NFTables",
    doc="The `nftables` section of kube-proxy's configuration.",
    patient=True,
)
_FEATURE_GATES = Shape(
    FeatureGates,
    Field("AllowServiceExternalIPs", FLAG, "allow_service_external_ips"),
    title="FeatureGates",
    doc="kube-proxy's feature gates. AllowServiceExternalIPs is one since 1.36.",
    patient=True,
)
_KUBE_PROXY = Shape(
    _kube_proxy,
    Field("version", Choice(Release)),
    Field("clusterCIDR", CIDRS, "cluster_cidrs"),
    Field("detectLocalMode", Choice(DetectLocalMode)),
    Field("podBridgeInterface", INTERFACE_NAME),
    Field("podInterfaceNamePrefix", INTERFACE_NAME),
    Field("masqueradeAll", FLAG),
    Field("masqueradeBit", _BIT),
    Field("nodePortAddresses", ListOf(NODE_PORT_ADDRESS), default=[]),
    Field("localhostNodePorts", FLAG, "localhost_nodeports"),
    Field("conntrackTCPBeLiberal", FLAG),
    Field("nfacct", Choice(NfacctUse)),
    Field("ipvs", _IPVS),
    Field("nftables", _NFTABLES, default=None),
    Field("featureGates", _FEATURE_GATES),
    of=KubeProxyOptions,
    title="KubeProxy",
    doc="kube-proxy's options that change rules, under the names of its configuration and flags. "
    "`version` is its release. `nfacct`: whether rules count packets by accounting objects in "
    "iptables mode, since 1.31. `auto`: where the kernel can, as kube-proxy decides it; in what "
    "`kns script` prints for any machine it means `off`.",
    patient=True,
)
_DNS = Shape(
    DNSOptions,
    Field("enabled", FLAG),
    Field("replicas", Integer(1, 100)),
    Field("domain", SUBDOMAIN),
    Field("upstream", ADDRESSES),
    Field("podRecords", Choice(("disabled", "insecure", "verified"))),
    Field("ttl", Integer(0, 3600)),
    Field("server", Choice(("builtin", "coredns"))),
    title="DNS",
    doc="Cluster DNS.",
    patient=True,
)
_POD_SELECTOR = Shape(
    lambda match_labels=None: match_labels or {},
    Field("matchLabels", LABELS, default={}),
    title="PodSelector",
    doc="A LabelSelector: pods with all these labels; without any, all pods of the namespace.",
)
_GATEWAY = Shape(
    _gateway,
    Field("node", SUBDOMAIN, required=True),
    NAMESPACE_FIELD,
    Field("podSelector", _POD_SELECTOR, "selector"),
    Field("destinationCIDRs", CIDR_LIST),
    Field("excludedCIDRs", CIDR_LIST),
    of=EgressGateway,
    doc="A node by which the chosen pods leave the cluster, with its address. "
    "`destinationCIDRs` left out: everything outside. The first gateway that chooses a pod counts.",
)
_EGRESS = Shape(
    EgressOptions,
    Field("masquerade", FLAG),
    Field("nonMasqueradeCIDRs", CIDR_LIST),
    Field("masqLinkLocal", FLAG),
    Field("gateways", ListOf(_GATEWAY)),
    title="Egress",
    doc="How pods leave the cluster. `nonMasqueradeCIDRs` puts ip-masq-agent in flannel's place.",
    patient=True,
)
SHAPE = Shape(
    _networking,
    Field("ipFamily", Choice(("ipv4", "ipv6", "dual"))),
    Field("podSubnet", CIDRS),
    Field("serviceSubnet", CIDRS),
    Field("nodeSubnet", CIDRS),
    Field("internetSubnet", CIDRS),
    Field("nodeCIDRMaskSize", Integer(8, 30)),
    Field("nodeCIDRMaskSizeIPv6", Integer(16, 126)),
    Field("kubeProxyMode", Choice(ProxyMode), default="iptables"),
    Field("podNetwork", Choice(PodNetworkMode)),
    Field("mtu", Integer(576, 65535)),
    Field("nodePortRange", PORT_RANGE, default="30000-32767"),
    Field("clusterDomain", SUBDOMAIN, default=None),
    Field("kubeProxy", _KUBE_PROXY),
    Field("dns", _DNS),
    Field("egress", _EGRESS),
    of=Networking,
    patient=True,
)
BALANCER_SHAPE = Shape(
    LoadBalancerOptions,
    Field("mode", Choice(("l2", "bgp", "proxy"))),
    Field("pool", CIDRS, "pools"),
    title="LoadBalancer",
    doc="Where Services of type LoadBalancer get their addresses from, and who answers for them."
    " Without `pool` these are addresses for documentation, in the lab's IP families.",
)
#: the parts of `networking` that no address depends on
OPTIONS = frozenset(
    {"kubeProxyMode", "kubeProxy", "dns", "egress", "mtu", "podNetwork", "nodePortRange"}
)
