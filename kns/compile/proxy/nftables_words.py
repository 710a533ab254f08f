"""Addresses, networks and sets of networks as nft prints them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

from kns.addresses import IPAddress, IPNetwork


def address_text(address: IPAddress) -> str:
    """The address as nft prints it, which is libc's inet_ntop: `::ffff:192.0.2.1`."""
    if address.version == 4:
        return str(address)
    return socket.inet_ntop(socket.AF_INET6, address.packed)


def network_text(network: IPNetwork) -> str:
    """The network as nft prints it: without a prefix length if it is a single address."""
    address = address_text(network.network_address)
    return (
        address if network.prefixlen == network.max_prefixlen else f"{address}/{network.prefixlen}"
    )


def network_set_text(networks: Sequence[IPNetwork]) -> str:
    """The anonymous set of these networks as nft prints it after loading.

    A lone element loses its braces when it is parsed. Several are a set of intervals, /32 ones
    too because kube-proxy writes their length: sorted, neighbours and overlaps merged.
    """
    if len(networks) == 1:
        return network_text(networks[0])
    spans = _merged(sorted((int(n.network_address), int(n.broadcast_address)) for n in networks))
    version = networks[0].version
    return "{ " + ", ".join(span_text(first, last, version) for first, last in spans) + " }"


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged = [spans[0]]
    for first, last in spans[1:]:
        previous = merged[-1]
        if first <= previous[1] + 1:
            merged[-1] = previous[0], max(previous[1], last)
        else:
            merged.append((first, last))
    return merged


def span_text(first: int, last: int, version: int) -> str:
    """The addresses from first to last as nft prints them: one, a prefix or a range."""
    size = last - first + 1
    bits = 32 if version == 4 else 128
    low, high = _address(first, version), _address(last, version)
    if size.bit_count() == 1 and first % size == 0:
        prefix = bits - (size.bit_length() - 1)
        return network_text(ip_network(f"{low}/{prefix}"))
    return f"{address_text(low)}-{address_text(high)}"


def _address(number: int, version: int) -> IPAddress:
    return IPv4Address(number) if version == 4 else IPv6Address(number)
