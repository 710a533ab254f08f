"""What kns wants of a machine: programs, and what the kernel must do.

`kns.engine.doctor` tries each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Need(StrEnum):
    """How much kns depends on a fact."""

    REQUIRED = "required"
    OPTIONAL = "optional"


# -- programs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, what wants it, and the arguments that make it tell its version."""

    program: str
    need: Need
    use: str
    version: tuple[str, ...] = ("--version",)


TOOLS: tuple[Tool, ...] = (
    Tool("ip", Need.REQUIRED, "kns script, and your own looks", ("-V",)),
    Tool("iptables-restore", Need.REQUIRED, "kube-proxy's rules in iptables mode"),
    Tool("ping", Need.REQUIRED, "probes by ICMP", ("-V",)),
    Tool("curl", Need.REQUIRED, "probes by TCP"),
    Tool("nft", Need.OPTIONAL, "kubeProxyMode: nftables"),
    Tool("ipset", Need.OPTIONAL, "kubeProxyMode: ipvs"),
    Tool("ipvsadm", Need.OPTIONAL, "looking at kubeProxyMode: ipvs"),
    Tool("conntrack", Need.OPTIONAL, "looking at connections"),
    Tool("tcpdump", Need.OPTIONAL, "kns capture"),
    Tool("dig", Need.OPTIONAL, "looking at DNS", ("-v",)),
    Tool("nginx", Need.OPTIONAL, "Ingress", ("-v",)),
    Tool("openssl", Need.OPTIONAL, "Ingress: certificates", ("version",)),
    Tool("haproxy", Need.OPTIONAL, "loadBalancer: {mode: proxy}", ("-v",)),
    Tool("bird", Need.OPTIONAL, "loadBalancer: {mode: bgp}"),
)


# -- kernel features -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Feature:
    """Something the kernel must do: `argv`, run in a netns of its own, succeeds if it can."""

    name: str
    need: Need
    use: str
    argv: tuple[str, ...]
    module: str
    text: str = ""


def _link(kind: str, *options: str) -> tuple[str, ...]:
    return ("ip", "link", "add", "kns0", "type", kind, *options)


_NAT = """\
*nat
:KUBE-SVC-TEST - [0:0]
-A KUBE-SVC-TEST -m comment --comment "a/b" -m statistic --mode random --probability 0.5 -j RETURN
-A KUBE-SVC-TEST -p tcp -m tcp -j DNAT --to-destination 10.0.0.1:80
-A KUBE-SVC-TEST -m addrtype --dst-type LOCAL -j RETURN
-A KUBE-SVC-TEST -j MARK --or-mark 0x4000
-A KUBE-SVC-TEST -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-TEST - [0:0]
-A KUBE-TEST -m conntrack --ctstate INVALID -j DROP
-A KUBE-TEST -p tcp -m mark --mark 0x4000/0x4000 -j REJECT
COMMIT
"""
_AFFINITY = """\
*nat
:KUBE-SVC-TEST - [0:0]
-A KUBE-SVC-TEST -m recent --name KUBE-SEP-TEST --rcheck --seconds 10800 --reap -j RETURN
COMMIT
"""
_NFT = """\
add table ip kns
add chain ip kns nat { type nat hook postrouting priority srcnat; }
add map ip kns services { type ipv4_addr . inet_proto . inet_service : verdict; }
add rule ip kns nat numgen random mod 2 vmap { 0 : accept, 1 : accept }
add rule ip kns nat mark & 0x4000 != 0 masquerade fully-random
"""

FEATURES: tuple[Feature, ...] = (
    Feature("netns", Need.REQUIRED, "everything", ("ip", "link", "show", "lo"), ""),
    Feature("veth", Need.REQUIRED, "pods", _link("veth"), "veth"),
    Feature("bridge", Need.REQUIRED, "cni0", _link("bridge"), "bridge"),
    Feature(
        "iptables nat",
        Need.REQUIRED,
        "kubeProxyMode: iptables, egress",
        ("iptables-restore",),
        "nf_nat xt_statistic xt_MASQUERADE xt_comment xt_addrtype",
        _NAT,
    ),
    Feature(
        "iptables recent",
        Need.OPTIONAL,
        "sessionAffinity: ClientIP in iptables mode",
        ("iptables-restore",),
        "xt_recent",
        _AFFINITY,
    ),
    Feature(
        "nftables",
        Need.OPTIONAL,
        "kubeProxyMode: nftables",
        ("nft", "-f", "-"),
        "nf_tables nft_numgen",
        _NFT,
    ),
    Feature(
        "ip_set",
        Need.OPTIONAL,
        "kubeProxyMode: ipvs",
        ("ipset", "create", "kns", "hash:ip,port"),
        "ip_set_hash_ipport",
    ),
    Feature("dummy", Need.OPTIONAL, "kubeProxyMode: ipvs (kube-ipvs0)", _link("dummy"), "dummy"),
    Feature(
        "vxlan",
        Need.OPTIONAL,
        "podNetwork: vxlan",
        _link("vxlan", "id", "1", "dstport", "8472"),
        "vxlan",
    ),
    Feature(
        "netem",
        Need.OPTIONAL,
        "loss and delay on a link",
        ("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"),
        "sch_netem",
    ),
    Feature(
        "conntrack list",
        Need.OPTIONAL,
        "stale UDP connections",
        ("conntrack", "-L"),
        "nf_conntrack_netlink",
    ),
)
