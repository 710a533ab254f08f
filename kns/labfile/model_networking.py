"""The `networking` part of the lab file, and the base of all models of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kns.labfile.fields import (
    Address,
    Cidr,
    Cidrs,
    Flag,
    Int,
    InterfaceName,
    LabelName,
    Labels,
    NodePortAddress,
    PortRange,
    Seconds,
    Subdomain,
    between,
)

_ACRONYMS = {"ip": "IP", "ips": "IPs", "cidr": "CIDR", "cidrs": "CIDRs", "tcp": "TCP", "arp": "ARP"}


def field_name(name: str) -> str:
    """`cluster_ips` as Kubernetes writes it: `clusterIPs`."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class Model(BaseModel):
    """Frozen; unknown fields are errors; a field without a value (`ports:`) is one left out."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=field_name, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if isinstance(value, dict) and None in value.values():
            return {key: item for key, item in value.items() if item is not None}
        return value


# -- networking ------------------------------------------------------------------------------------

Scheduler = Literal["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh"]


class IPVSSpec(Model):
    """kube-proxy's `ipvs` options; timeouts in seconds, 0 leaves the kernel's own."""

    scheduler: Scheduler = "rr"
    strict_arp: Flag = Field(False, alias="strictARP")
    tcp_timeout: Seconds = 0
    tcp_fin_timeout: Seconds = 0
    udp_timeout: Seconds = 0
    exclude_cidrs: tuple[Cidr, ...] = ()


class NFTablesSpec(Model):
    """The `nftables` section of kube-proxy's configuration."""

    masquerade_all: Flag = False
    masquerade_bit: Annotated[Int, between(0, 31)] = 14


class KubeProxySpec(Model):
    """kube-proxy's options that change rules, under the names of its configuration and flags."""

    cluster_cidr: Cidrs = Field((), alias="clusterCIDR")
    detect_local_mode: Literal[
        "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"
    ] = "ClusterCIDR"
    pod_bridge_interface: InterfaceName = ""
    pod_interface_name_prefix: InterfaceName = ""
    masquerade_all: Flag = False
    masquerade_bit: Annotated[Int, between(0, 31)] = 14
    node_port_addresses: tuple[NodePortAddress, ...] = ()
    localhost_node_ports: Flag = True
    conntrack_tcp_be_liberal: Flag = False
    ipvs: IPVSSpec = Field(default_factory=IPVSSpec)
    nftables: NFTablesSpec | None = None


class DNSSpec(Model):
    """Cluster DNS."""

    enabled: Flag = True
    replicas: Annotated[Int, between(1, 100)] = 2
    domain: Subdomain = "cluster.local"
    upstream: tuple[Address, ...] = ()
    pod_records: Literal["disabled", "insecure", "verified"] = "insecure"
    ttl: Annotated[Int, between(0, 3600)] = 30
    server: Literal["builtin", "coredns"] = "builtin"


class PodSelectorSpec(Model):
    """A LabelSelector: pods with all these labels; without any, all pods of the namespace."""

    match_labels: Labels = Field(default_factory=dict)


class EgressGatewaySpec(Model):
    """A node by which the chosen pods leave the cluster, with its address.

    `destinationCIDRs` left out: everything outside. The first gateway that chooses a pod counts.
    """

    node: Subdomain
    namespace: LabelName = "default"
    pod_selector: PodSelectorSpec = Field(default_factory=PodSelectorSpec)
    destination_cidrs: tuple[Cidr, ...] = Field((), alias="destinationCIDRs")
    excluded_cidrs: tuple[Cidr, ...] = Field((), alias="excludedCIDRs")


class EgressSpec(Model):
    """How pods leave the cluster. `nonMasqueradeCIDRs` puts ip-masq-agent in flannel's place."""

    masquerade: Flag = True
    non_masquerade_cidrs: tuple[Cidr, ...] = Field((), alias="nonMasqueradeCIDRs")
    masq_link_local: Flag = False
    gateways: tuple[EgressGatewaySpec, ...] = ()


class NetworkingSpec(Model):
    """The cluster's networking; subnets left out get the defaults of their family."""

    ip_family: Literal["ipv4", "ipv6", "dual"] = "ipv4"
    pod_subnet: Cidrs = ()
    service_subnet: Cidrs = ()
    node_subnet: Cidrs = ()
    internet_subnet: Cidrs = ()
    node_cidr_mask_size: Annotated[Int, between(8, 30)] | None = None
    node_cidr_mask_size_ipv6: Annotated[Int, between(16, 126)] | None = Field(
        None, alias="nodeCIDRMaskSizeIPv6"
    )
    kube_proxy_mode: Literal["iptables", "ipvs", "nftables"] = "iptables"
    pod_network: Literal["host-gw", "vxlan"] = "host-gw"
    mtu: Annotated[Int, between(576, 65535)] = 1500
    node_port_range: PortRange = (30000, 32767)
    cluster_domain: Subdomain | None = None
    kube_proxy: KubeProxySpec = Field(default_factory=KubeProxySpec)
    dns: DNSSpec = Field(default_factory=DNSSpec)
    egress: EgressSpec = Field(default_factory=EgressSpec)


class LoadBalancerSpec(Model):
    """Where Services of type LoadBalancer get their addresses from, and who answers for them."""

    mode: Literal["l2", "bgp", "proxy"] = "l2"
    pool: Cidrs = ()
