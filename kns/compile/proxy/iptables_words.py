"""The words of kube-proxy's iptables rules in the order in which `iptables-save` prints them.

What is written and what is read back differ: addresses, interfaces and the protocol come first,
`--or-mark` reads as `--set-xmark`, a probability has eleven digits of a 31-bit fraction, and
`-m recent` shows its defaults. Everything here is in the form that is read back.
"""

from __future__ import annotations

from base64 import b32encode
from functools import cache
from hashlib import sha256
from ipaddress import IPv4Address
from math import floor

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.compile.proxy.on_node import LocalDetector

MARK_MASQ = "KUBE-MARK-MASQ"
LOCALHOST = "-d 127.0.0.0/8"


def chain_hash(text: str) -> str:
    """The end of a per-service chain's name (proxier.go portProtoHash); chains have 28 letters."""
    # ten bytes are the sixteen letters that are kept
    return b32encode(sha256(text.encode()).digest()[:10]).decode()


def comment(text: str) -> str:
    """`-m comment`; quoted, as every text of kube-proxy's has a letter that calls for quotes."""
    return f'-m comment --comment "{text}"'


def nfacct(name: str) -> str:
    """The match that adds the packet to an accounting object, with iptables-save's two blanks."""
    return f"-m nfacct --nfacct-name  {name}"


def source(network: IPAddress | IPNetwork) -> str:
    """`-s X ` with its blank; nothing for all addresses, which iptables-save leaves out."""
    return _address("-s", network)


def destination(network: IPAddress | IPNetwork) -> str:
    """`-d X ` with its blank; nothing for all addresses."""
    return _address("-d", network)


def _address(option: str, item: IPAddress | IPNetwork) -> str:
    if isinstance(item, IPAddress):
        return f"{option} {item}/{32 if isinstance(item, IPv4Address) else 128} "
    return f"{option} {item} " if item.prefixlen else ""


def from_pods(detector: LocalDetector) -> str:
    """The match for packets of this node's pods, with its blank."""
    if detector.cidr is not None:
        return source(detector.cidr)
    return f"-i {_interface(detector)} "


def not_from_pods(detector: LocalDetector, before: str) -> str:
    """The match for any other packets, round `before`, which is a `destination`."""
    if detector.cidr is not None:
        return f"! -s {detector.cidr} {before}"
    return f"{before}! -i {_interface(detector)} "


def _interface(detector: LocalDetector) -> str:
    return detector.interface + ("+" if detector.prefix else "")


@cache
def probability(endpoints: int) -> str:
    """`--probability` of one in `endpoints`, as it comes back.

    kube-proxy writes ten digits, xt_statistic keeps a fraction of 2^31, iptables-save prints that.
    """
    written = float(f"{1 / endpoints:.10f}")
    kept = floor(written * 0x80000000 + 0.5)
    return f"-m statistic --mode random --probability {kept / 0x80000000:.11f}"


def recent_mask(family: IPFamily) -> str:
    """The `--mask` that iptables-save adds to `-m recent`."""
    return "255.255.255.255" if family is IPFamily.IPV4 else ":".join(["ffff"] * 8)


def reject(family: IPFamily) -> str:
    """The REJECT target with its default spelled out."""
    kind = "icmp-port-unreachable" if family is IPFamily.IPV4 else "icmp6-port-unreachable"
    return f"REJECT --reject-with {kind}"
