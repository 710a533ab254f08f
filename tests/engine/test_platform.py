"""What a lab asks of the machine, before anything is built."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.engine import platform
from kns.errors import PlatformError
from kns.kinds.networking import DNSOptions
from kns.state.model import HostState, Netns, NftTable

NETWORK = Network((IPFamily.IPV4,), (), (), (), ())


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "require_root", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)


def with_dns(options: DNSOptions) -> Cluster:
    return Cluster("lab", replace(NETWORK, dns=options), ())


def test_network_policies_say_that_they_need_nftables() -> None:
    tables = (NftTable(IPFamily.IPV4, "network-policy"),)
    with pytest.raises(PlatformError) as caught:
        platform.require(HostState((Netns("node1", nftables=tables),)), with_dns(DNSOptions()))
    assert caught.value.message == (
        "NetworkPolicies are enforced by nftables, also beside iptables:"
        " the program nft is not installed"
    )
    assert caught.value.hint == "apt-get install nftables"


def test_coredns_is_asked_for_before_anything_is_built() -> None:
    with pytest.raises(PlatformError) as caught:
        platform.require(HostState(()), with_dns(DNSOptions(server="coredns")))
    assert caught.value.message == "the program coredns is not installed"
    assert "leave out dns.server: coredns" in caught.value.hint


@pytest.mark.parametrize("options", [DNSOptions(), DNSOptions(enabled=False, server="coredns")])
def test_no_coredns_is_needed_where_none_will_run(options: DNSOptions) -> None:
    platform.require(HostState(()), with_dns(options))
