"""What a lab asks of the machine, before anything is built."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.compile.networkpolicy import table as networkpolicy
from kns.engine import platform
from kns.errors import PlatformError
from kns.kernel import features, nfacct, processes
from kns.kernel.nfacct import NfacctSupport
from kns.kernel.processes import Completed
from kns.kinds.networking import DNSOptions, KubeProxyOptions, NfacctUse, ProxyMode
from kns.kinds.release import Release
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


def test_a_trial_that_does_not_end_is_not_taken_for_a_lack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endless = Completed((), -9, "", "", 90.0, timed_out=True)
    monkeypatch.setattr(processes, "which", str)
    monkeypatch.setattr(processes, "run", lambda *_args, **_options: endless)
    with pytest.raises(PlatformError) as caught:
        features.works(networkpolicy.FEATURE)
    assert caught.value.message == (
        "whether this kernel has network policies can't be told: nft did not end within 90 s"
    )


def test_coredns_is_asked_for_before_anything_is_built() -> None:
    with pytest.raises(PlatformError) as caught:
        platform.require(HostState(()), with_dns(DNSOptions(server="coredns")))
    assert caught.value.message == "the program coredns is not installed"
    assert "leave out dns.server: coredns" in caught.value.hint


@pytest.mark.parametrize("options", [DNSOptions(), DNSOptions(enabled=False, server="coredns")])
def test_no_coredns_is_needed_where_none_will_run(options: DNSOptions) -> None:
    platform.require(HostState(()), with_dns(options))


def with_proxy(**options: Any) -> Cluster:
    return Cluster("lab", replace(NETWORK, kube_proxy=KubeProxyOptions(**options)), ())


def on_a_kernel(monkeypatch: pytest.MonkeyPatch, support: NfacctSupport) -> None:
    monkeypatch.setattr(nfacct, "support", lambda: support)


@pytest.mark.parametrize(
    ("support", "use"),
    [
        (NfacctSupport.WHOLE, NfacctUse.ON),
        # kube-proxy looks for the objects alone, and then loads no rule
        (NfacctSupport.OBJECTS, NfacctUse.OFF),
        (NfacctSupport.NOTHING, NfacctUse.OFF),
    ],
)
def test_auto_counts_packets_where_the_kernel_can(
    support: NfacctSupport, use: NfacctUse, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_kernel(monkeypatch, support)
    assert platform.nfacct_use(with_proxy(nfacct=NfacctUse.AUTO)) is use


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nfacct": NfacctUse.AUTO, "mode": ProxyMode.NFTABLES},
        {"nfacct": NfacctUse.AUTO, "mode": ProxyMode.IPVS},
        {"nfacct": NfacctUse.AUTO, "version": Release.V1_30},
        {"nfacct": NfacctUse.ON},
        {"nfacct": NfacctUse.OFF},
    ],
)
def test_the_kernel_is_not_asked_where_the_file_or_the_mode_says_it(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_kernel(monkeypatch, NfacctSupport.WHOLE)
    assert platform.nfacct_use(with_proxy(**options)) is None


def test_what_the_file_wants_counted_the_kernel_must_be_able_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_a_kernel(monkeypatch, NfacctSupport.OBJECTS)
    with pytest.raises(PlatformError) as caught:
        platform.require(HostState(()), with_proxy(nfacct=NfacctUse.ON))
    assert "nfnetlink_acct xt_nfacct" in caught.value.message
    assert "nfacct: auto" in caught.value.hint
    platform.require(HostState(()), with_proxy(nfacct=NfacctUse.ON, mode=ProxyMode.NFTABLES))
