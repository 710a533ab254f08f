"""Pods on their node's bridge: who knows whose MAC address from the start."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kns.compile.lab import compile_host
from tests.clusters import make_cluster


@pytest.mark.parametrize(("pods", "fixed"), [(100, False), (101, True), (250, True)])
def test_large_labs_learn_no_neighbors(pods: int, *, fixed: bool) -> None:
    """The kernel's table has room for 1,024 that are learned, of all netns together."""
    cluster = make_cluster("many", pods=pods)
    spaces = {space.name: space for space in compile_host(cluster).netns}
    pod = cluster.pods[0]
    known = {item.address for item in spaces["kns.many.node1"].neighbors}
    assert (pod.addresses[0] in known) == fixed
    gateways = {item.address for item in spaces[f"kns.many.{pod.name}"].neighbors}
    assert gateways == ({ip_address("10.244.0.1")} if fixed else set())
