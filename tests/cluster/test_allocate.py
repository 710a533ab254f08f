"""Allocation: cidrset, host-local, cluster IPs and node ports."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from kns.addresses import IPNetwork
from kns.cluster.allocate import (
    ClusterIPs,
    ExhaustedError,
    NodePorts,
    PodAddresses,
    address_at,
    free_subnets,
)

CIDR = ip_network("10.244.1.0/24")


def test_free_subnets_are_in_order_and_skip_what_is_taken() -> None:
    taken: list[IPNetwork] = [ip_network("10.244.1.0/24"), ip_network("fd00::/64")]
    free = free_subnets(ip_network("10.244.0.0/22"), 24, taken)
    assert [str(subnet) for subnet in free] == ["10.244.0.0/24", "10.244.2.0/24", "10.244.3.0/24"]


# -- host-local ------------------------------------------------------------------------------------


def test_the_first_pod_has_the_second_address() -> None:
    pool = PodAddresses(CIDR, None)
    assert [str(pool.next()) for _ in range(3)] == ["10.244.1.2", "10.244.1.3", "10.244.1.4"]
    assert pool.last == ip_address("10.244.1.4")


def test_a_freed_address_is_not_used_at_once() -> None:
    pool = PodAddresses(CIDR, ip_address("10.244.1.4"))
    assert pool.keep(ip_address("10.244.1.3"))
    assert pool.keep(ip_address("10.244.1.4"))
    assert str(pool.next()) == "10.244.1.5"


def test_addresses_wrap_and_leave_out_bridge_and_broadcast() -> None:
    pool = PodAddresses(CIDR, ip_address("10.244.1.253"))
    assert [str(pool.next()) for _ in range(2)] == ["10.244.1.254", "10.244.1.2"]


def test_a_full_cidr_is_exhausted() -> None:
    pool = PodAddresses(ip_network("10.0.0.0/29"), None)
    assert [int(pool.next()) & 7 for _ in range(5)] == [2, 3, 4, 5, 6]
    with pytest.raises(ExhaustedError, match=r"no free address in 10\.0\.0\.0/29"):
        pool.next()


@pytest.mark.parametrize("address", ["10.244.1.0", "10.244.1.1", "10.244.1.255", "10.244.2.2"])
def test_an_address_that_no_pod_can_have_is_not_kept(address: str) -> None:
    assert not PodAddresses(CIDR, None).keep(ip_address(address))


def test_an_address_is_kept_once() -> None:
    pool = PodAddresses(CIDR, None)
    assert [pool.keep(ip_address("10.244.1.2")) for _ in range(2)] == [True, False]
    assert str(pool.next()) == "10.244.1.3"


def test_a_last_address_of_another_cidr_does_not_count() -> None:
    assert str(PodAddresses(CIDR, ip_address("10.9.9.9")).next()) == "10.244.1.2"


def test_ipv6_pods_begin_at_two() -> None:
    pool = PodAddresses(ip_network("fd00:10:244:1::/64"), None)
    assert [str(pool.next()) for _ in range(2)] == ["fd00:10:244:1::2", "fd00:10:244:1::3"]


# -- cluster IPs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subnet", "first"),
    [("10.96.0.0/16", 257), ("10.96.0.0/24", 17), ("10.96.0.0/20", 257), ("fd00::/112", 257)],
)
def test_cluster_ips_are_from_the_upper_band(subnet: str, first: int) -> None:
    """The static band is min(max(16, size/16), 256) addresses after the network's own."""
    network = ip_network(subnet)
    pool = ClusterIPs(network, set())
    offsets = [int(pool.next(f"key{i}")) - int(network.network_address) for i in range(200)]
    assert min(offsets) >= first
    assert len(set(offsets)) == 200


def test_the_same_key_gets_the_same_cluster_ip() -> None:
    subnet = ip_network("10.96.0.0/16")
    first = ClusterIPs(subnet, set()).next("default/web/IPv4")
    assert ClusterIPs(subnet, set()).next("default/web/IPv4") == first
    assert ClusterIPs(subnet, {first}).next("default/web/IPv4") == address_at(
        subnet, int(first) - int(subnet.network_address) + 1
    )


def test_a_full_upper_band_goes_on_in_the_lower() -> None:
    subnet = ip_network("10.96.0.0/26")
    pool = ClusterIPs(subnet, {address_at(subnet, 1)})
    given = [pool.next(f"key{i}") for i in range(61)]
    assert set(given) == {address_at(subnet, i) for i in range(2, 63)}
    assert all(int(address) > int(address_at(subnet, 16)) for address in given[:46])
    with pytest.raises(ExhaustedError):
        pool.next("one more")


def test_a_subnet_as_small_as_its_static_band_is_all_for_handing_out() -> None:
    pool = ClusterIPs(ip_network("10.96.0.0/28"), set())
    assert len({pool.next(f"key{i}") for i in range(14)}) == 14


def test_a_huge_subnet_is_no_work() -> None:
    assert ClusterIPs(ip_network("fd00::/64"), set()).next("x") in ip_network("fd00::/64")


def test_take_refuses_what_is_outside_or_taken() -> None:
    pool = ClusterIPs(ip_network("10.96.0.0/16"), {ip_address("10.96.0.1")})
    wanted = ["10.96.0.1", "10.97.0.1", "fd00::1", "10.96.0.5", "10.96.0.5"]
    taken = [pool.take(ip_address(address)) for address in wanted]
    assert taken == [False, False, False, True, False]


# -- node ports ------------------------------------------------------------------------------------


def test_node_ports_are_above_the_first_86() -> None:
    pool = NodePorts(30000, 32767)
    ports = [pool.next(f"key{i}") for i in range(500)]
    assert min(ports) >= 30086
    assert max(ports) <= 32767
    assert len(set(ports)) == 500


def test_a_small_range_is_used_up_to_its_last_port() -> None:
    pool = NodePorts(30000, 30019)
    assert pool.take(30000)
    assert not pool.take(30000)
    assert not pool.take(29999)
    ports = {pool.next(f"key{i}") for i in range(19)}
    assert ports == set(range(30001, 30020))
    with pytest.raises(ExhaustedError, match="30000-30019"):
        pool.next("one more")
