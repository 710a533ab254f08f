"""Differences between releases are data, in the order of the releases, and each shows somewhere."""

from __future__ import annotations

from dataclasses import replace

from kns.addresses import IPFamily
from kns.cluster.model import DetectLocalMode, KubeProxyOptions, ProxyMode
from kns.compile.proxy.by_mode import proxies, proxy
from kns.compile.proxy.nftables_base import local_traffic
from kns.compile.proxy.release import DEFAULT, SINCE, Release, ReleaseChange
from tests.clusters import make_cluster

NODE = make_cluster().nodes[0]


def test_every_change_has_its_release_and_they_are_in_order() -> None:
    assert set(SINCE) == set(ReleaseChange)
    assert list(SINCE.values()) == sorted(SINCE.values())


def test_release_has_what_began_with_it_or_before() -> None:
    first = SINCE[ReleaseChange.INTERFACES_BY_NAME]
    assert first.has(ReleaseChange.INTERFACES_BY_NAME)
    assert replace(first, minor=first.minor + 1).has(ReleaseChange.INTERFACES_BY_NAME)
    assert not replace(first, minor=first.minor - 1).has(ReleaseChange.INTERFACES_BY_NAME)
    assert Release(1, 9) < Release(1, 30)
    assert str(DEFAULT) == "1.30"


def test_bridge_is_matched_by_name_once_the_release_does() -> None:
    options = KubeProxyOptions(
        ProxyMode.NFTABLES,
        detect_local_mode=DetectLocalMode.BRIDGE_INTERFACE,
        pod_bridge_interface="cni0",
    )
    for release, word in ((DEFAULT, "iif"), (Release(1, 33), "iifname")):
        found = local_traffic(NODE, options, IPFamily.IPV4, release)
        assert found == (f'{word} "cni0"', f'{word} != "cni0"')


def test_every_mode_has_an_object_that_knows_its_own_rules() -> None:
    cluster = make_cluster()
    for mine in proxies():
        options = KubeProxyOptions(mine.MODE)
        space = mine.on_node("kns.t.node1", cluster, NODE, options)
        assert [other.MODE for other in proxies() if other.is_in(space)] == [mine.MODE]
        assert proxy(mine.MODE, Release(1, 33)).release == Release(1, 33)
