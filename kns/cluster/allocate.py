"""Handing out addresses, pod CIDRs and ports, by the rules of the components that do it.

    pod CIDRs      kube-controller-manager's cidrset: the next free one, round robin
    pod addresses  CNI's host-local: next after the last one handed out, the first being .2
    cluster IPs    kube-apiserver's: what is asked for, else from the upper band of the subnet
    node ports     likewise, of the range

kube-apiserver draws at random; here a hash of the Service's name is where the search begins, so
that the same file gives the same addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from kns.addresses import IPAddress, IPNetwork


class ExhaustedError(Exception):
    """Nothing is left to hand out."""


def address_at(network: IPNetwork, offset: int) -> IPAddress:
    """The address at an offset from the network's own."""
    value = int(network.network_address) + offset
    return IPv4Address(value) if network.version == 4 else IPv6Address(value)


def _start(key: str, size: int) -> int:
    """Where in `size` places the search for `key` begins."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % size


def _probe(key: str, low: int, size: int, static: int) -> Iterator[int]:
    """Every place of `low` and the `size - 1` after it: the upper band first, from a hash on."""
    static = 0 if static >= size else static
    upper = size - static
    # a /64 of IPv6 is not to be walked; what stands in a file can't fill the first 2**32
    begin = _start(key, min(upper, 2**32))
    for step in range(upper):
        yield low + static + (begin + step) % upper
    yield from range(low, low + static)


# -- pod CIDRs and pod addresses -------------------------------------------------------------------


def free_subnets(network: IPNetwork, prefix: int, taken: list[IPNetwork]) -> Iterator[IPNetwork]:
    """The subnets of `network` with that prefix length that overlap none of `taken`, in order."""
    for subnet in network.subnets(new_prefix=prefix):
        if not any(subnet.overlaps(other) for other in taken if other.version == subnet.version):
            yield subnet


class PodAddresses:
    """One node's addresses of one family: host-local over its pod CIDR."""

    def __init__(self, cidr: IPNetwork, last: IPAddress | None) -> None:
        self._cidr = cidr
        self._base = int(cidr.network_address)
        size = cidr.num_addresses
        # .0 is the network's (and flannel.1's) own, .1 the bridge's; IPv6 has no broadcast
        # address, but host-local leaves the end out there, too
        self._low, self._high = 2, size - 2
        self._taken: set[int] = set()
        self._last = int(last) - self._base if last is not None and last in cidr else 1

    @property
    def last(self) -> IPAddress:
        """The address that was last handed out, the bridge's at first."""
        return address_at(self._cidr, self._last)

    def keep(self, address: IPAddress) -> bool:
        """Note that a pod has the address; False if it is none to have, or taken."""
        place = int(address) - self._base
        if not self._low <= place <= self._high or place in self._taken:
            return False
        self._taken.add(place)
        return True

    def next(self) -> IPAddress:
        """The next free address after the last one. Raises ExhaustedError."""
        span = self._high - self._low + 1
        if len(self._taken) >= span:
            raise ExhaustedError(f"no free address in {self._cidr}")
        place = self._last
        while True:
            place = place + 1 if self._low <= place + 1 <= self._high else self._low
            if place not in self._taken:
                break
        self._taken.add(place)
        self._last = place
        return address_at(self._cidr, place)


# -- cluster IPs and node ports --------------------------------------------------------------------


class ClusterIPs:
    """The addresses of a service subnet."""

    def __init__(self, subnet: IPNetwork, reserved: set[IPAddress]) -> None:
        self._subnet = subnet
        self._taken = set(reserved)
        # the network's own address and IPv4's broadcast are none to hand out
        self._size = subnet.num_addresses - (2 if subnet.version == 4 else 1)
        self._static = min(max(16, subnet.num_addresses // 16), 256)

    def take(self, address: IPAddress) -> bool:
        """Reserve the address; False if it lies outside or another has it."""
        if address not in self._subnet or address in self._taken:
            return False
        self._taken.add(address)
        return True

    def next(self, key: str) -> IPAddress:
        """A free address for `key`. Raises ExhaustedError."""
        if len(self._taken) < self._size:
            for place in _probe(key, 1, self._size, self._static):
                address = address_at(self._subnet, place)
                if address not in self._taken:
                    self._taken.add(address)
                    return address
        raise ExhaustedError(f"no free cluster IP in {self._subnet}")


class NodePorts:
    """The ports of the node port range; one Service has a port for all protocols."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._size = low, high - low + 1
        self._high = high
        self._static = min(max(16, self._size // 32), 128)
        self._taken: set[int] = set()

    def take(self, port: int) -> bool:
        """Reserve the port; False if it lies outside or another has it."""
        if not self._low <= port <= self._high or port in self._taken:
            return False
        self._taken.add(port)
        return True

    def next(self, key: str) -> int:
        """A free port for `key`. Raises ExhaustedError."""
        for port in _probe(key, self._low, self._size, self._static):
            if port not in self._taken:
                self._taken.add(port)
                return port
        raise ExhaustedError(f"no free node port in {self._low}-{self._high}")
