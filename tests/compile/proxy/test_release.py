"""Differences between releases are data, in the order of the releases, and each shows somewhere."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.addresses import IPFamily
from kns.cluster.manifests import load_objects
from kns.compile.proxy.by_mode import proxies
from kns.compile.proxy.endpoints import service_ports
from kns.compile.proxy.iptables import iptables_tables
from kns.compile.proxy.nftables import nft_tables
from kns.compile.proxy.nftables_base import local_traffic, nodeport_addresses
from kns.compile.proxy.release import SINCE, ReleaseChange, has
from kns.compile.proxy.udp_flows import udp_flows
from kns.kinds.common import Protocol
from kns.kinds.networking import (
    DetectLocalMode,
    FeatureGates,
    KubeProxyOptions,
    NFTablesOptions,
    ProxyMode,
)
from kns.kinds.release import NEWEST, Release
from kns.kinds.service import ServicePort, SessionAffinity, TrafficPolicy
from kns.state.model import IptablesTable, NftTable
from tests.clusters import make_cluster
from tests.compile.proxy.services import (
    NODE,
    OPTIONS,
    cluster_ip,
    endpoint,
    endpoint_slice,
    load_balancer,
    node_port,
)

LOCAL, REMOTE = endpoint("10.244.1.10"), endpoint("10.244.2.10", "node2")
SERVICE, ENDPOINT = "service-SUSTUHLJ-default/web/tcp/http", "endpoint-FLXOMXXM-default/web/tcp"
SINGLE_STACK = replace(NODE, addresses=NODE.addresses[:1])
SPELLED_SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 8080}]
endpoints: [{addresses: ["FD00:10:244:2::10"]}, {addresses: ["fd00:10:244:1:0:0:0:10"]}]
"""
EVERY_RELEASE = pytest.mark.parametrize("release", list(Release), ids=str)


def table(release: Release, *services: object, slices: object = (), **options: object) -> NftTable:
    chosen = replace(OPTIONS, version=release, **options)  # type: ignore[arg-type]
    item = slices or (endpoint_slice(LOCAL, REMOTE),)
    (made,) = nft_tables(services, item, NODE, chosen, IPFamily.IPV4)  # type: ignore[arg-type]
    return made


def rules(found: NftTable | IptablesTable, chain: str) -> tuple[str, ...]:
    return next((item.rules for item in found.chains if item.name == chain), ())


def elements(found: NftTable, name: str) -> tuple[str, ...]:
    return next(item.elements for item in found.sets if item.name == name)


def hooks(found: NftTable) -> dict[str, str]:
    return {c.name: c.hook.split("priority ")[1].split(";")[0] for c in found.chains if c.hook}


def test_every_change_has_its_release_and_they_are_in_order() -> None:
    assert set(SINCE) == set(ReleaseChange)
    assert list(SINCE.values()) == sorted(SINCE.values())


def test_release_has_what_began_with_it_or_before() -> None:
    assert has(Release.V1_33, ReleaseChange.INTERFACES_BY_NAME)
    assert has(Release.V1_34, ReleaseChange.INTERFACES_BY_NAME)
    assert not has(Release.V1_32, ReleaseChange.INTERFACES_BY_NAME)
    assert list(Release) == sorted(Release)
    assert KubeProxyOptions().version is NEWEST is Release.V1_37


def test_every_mode_has_an_object_that_knows_its_own_rules() -> None:
    cluster = make_cluster()
    for mine in proxies():
        for release in Release:
            options = KubeProxyOptions(mine.MODE, version=release)
            space = mine.on_node("kns.t.node1", cluster, cluster.nodes[0], options).netns
            assert [other.MODE for other in proxies() if other.is_in(space)] == [mine.MODE]


# -- the structure of nftables mode's table --------------------------------------------------------


@EVERY_RELEASE
def test_filter_chains_stand_before_the_dnat_up_to_1_33(release: Release) -> None:
    found = hooks(table(release))
    if release < Release.V1_34:
        assert found["filter-input"] == found["filter-forward"] == found["filter-output"] == "-110"
        assert found["filter-prerouting"] == "dstnat - 10"
        assert found["filter-output-post-dnat"] == "-90"
    else:
        assert found["filter-input"] == found["filter-forward"] == "filter"
        assert found["filter-output"] == "filter"
        assert found["filter-prerouting-pre-dnat"] == "dstnat - 10"
        assert found["filter-output-pre-dnat"] == "-110"
        assert rules(table(release), "filter-output") == (
            "ct state new jump service-endpoints-check",
            "ct state new jump cluster-ips-check",
        )


@EVERY_RELEASE
def test_cluster_ips_are_masqueraded_by_port_by_address_or_at_once(release: Release) -> None:
    found = table(release, cluster_ip())
    outside = "ip saddr != 10.244.0.0/16"
    first = rules(found, SERVICE)[0]
    if release < Release.V1_34:
        assert first == f"ip daddr 10.96.10.1 tcp dport 80 {outside} jump mark-for-masquerade"
    elif release < Release.V1_36:
        assert first == f"ip daddr 10.96.10.1 {outside} jump mark-for-masquerade"
    else:
        assert first.startswith("meta l4proto tcp dnat ip to numgen random mod 2 map")
        assert rules(found, "services")[0] == (
            f"ip daddr @cluster-ips {outside} meta mark set meta mark | 0x00004000"
            ' comment "masquerade clusterIP traffic from outside cluster"'
        )


@EVERY_RELEASE
def test_marks_are_set_by_a_chain_up_to_1_35(release: Release) -> None:
    """And by the rules themselves since then, which say what for."""
    chain = release < Release.V1_36
    mark = "meta mark set meta mark | 0x00004000"
    cluster, local = (
        rules(
            table(release, node_port(external_traffic_policy=policy)),
            "external-SUSTUHLJ-default/web/tcp/http",
        )
        for policy in TrafficPolicy
    )
    assert cluster[0] == ("jump mark-for-masquerade" if chain else f'{mark} comment "masquerade"')
    match, what = "fib saddr type local", 'comment "masquerade local traffic"'
    assert f"{match} {'jump mark-for-masquerade' if chain else mark} {what}" in local
    assert rules(table(release), "mark-for-masquerade") == ((mark,) if chain else ())


@EVERY_RELEASE
def test_masquerading_has_a_rule_for_hairpins_since_1_36(release: Release) -> None:
    found = rules(table(release), "masquerading")
    if release < Release.V1_36:
        assert found == (
            "meta mark & 0x00004000 == 0x00000000 return",
            "meta mark set meta mark ^ 0x00004000",
            "masquerade fully-random",
        )
        return
    marked, hairpins = found
    assert marked.endswith("meta mark set meta mark ^ 0x00004000 masquerade fully-random")
    endpoint = "ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections"
    assert hairpins == f"ct status dnat {endpoint} masquerade fully-random"


@EVERY_RELEASE
def test_masquerade_all_is_a_rule_of_both_tables_in_the_end(release: Release) -> None:
    all_of_them = NFTablesOptions(masquerade_all=True)
    options = replace(OPTIONS, version=release, nftables=all_of_them)
    items = (endpoint_slice(LOCAL, REMOTE),)
    four, six = (nft_tables((cluster_ip(),), items, NODE, options, f)[0] for f in IPFamily)
    if release < Release.V1_36:
        port = "tcp dport 80 " if release < Release.V1_34 else ""
        assert rules(four, SERVICE)[0] == f"ip daddr 10.96.10.1 {port}jump mark-for-masquerade"
    else:
        comment = 'comment "masquerade all clusterIP traffic"'
        mark = f"meta mark set meta mark | 0x00004000 {comment}"
        assert rules(four, "services")[0] == f"ip daddr @cluster-ips {mark}"
        assert rules(six, "services")[0] == f"ip6 daddr @cluster-ips {mark}"


def test_without_a_detector_no_rule_masquerades_cluster_ips() -> None:
    found = table(Release.V1_36, cluster_ip(), cluster_cidrs=())
    assert [rule for rule in rules(found, "services") if "cluster-ips" in rule] == []


@EVERY_RELEASE
def test_endpoints_have_chains_up_to_1_35_and_with_affinity(release: Release) -> None:
    plain, affine = table(release, cluster_ip()), table(release, _affine())
    chains = [[c for c in t.chains if c.name.startswith("endpoint-")] for t in (plain, affine)]
    assert len(chains[0]) == (2 if release < Release.V1_36 else 0)
    assert len(chains[1]) == 2
    hairpin = [rule for chain in chains[1] for rule in chain.rules if rule.startswith("ip saddr")]
    assert len(hairpin) == (2 if release < Release.V1_36 else 0)
    # one endpoint that remembers its clients is chosen by chance still
    alone = table(release, _affine(), slices=(endpoint_slice(REMOTE),))
    assert rules(alone, SERVICE)[-1].startswith("numgen random mod 1 vmap { 0 : goto endpoint-")


def _affine() -> object:
    return cluster_ip(session_affinity=SessionAffinity.CLIENT_IP)


def test_one_endpoint_is_a_plain_dnat_since_1_37() -> None:
    one = (endpoint_slice(REMOTE),)
    mapped, plain = (
        rules(table(release, cluster_ip(), slices=one), SERVICE)
        for release in (Release.V1_36, Release.V1_37)
    )
    dnat = "meta l4proto tcp dnat"
    assert mapped == (f"{dnat} ip to numgen random mod 1 map {{ 0 : 10.244.2.10 . 8080 }}",)
    assert plain == (f"{dnat} to 10.244.2.10:8080",)


def test_hairpins_are_the_used_endpoints_on_this_node() -> None:
    hinted = replace(LOCAL, hint_zones=("zone-b",)), replace(REMOTE, hint_zones=("zone-a",))
    unready = replace(LOCAL, ready=False)
    for endpoints, expected in (
        ((LOCAL, REMOTE), ("10.244.1.10 . 10.244.1.10 . tcp . 8080",)),
        (hinted, ()),
        ((unready, REMOTE), ()),
    ):
        found = table(Release.V1_36, cluster_ip(), slices=(endpoint_slice(*endpoints),))
        assert elements(found, "hairpin-connections") == expected


# -- rows of differences ---------------------------------------------------------------------------


@EVERY_RELEASE
def test_family_without_an_address_has_node_ports_on_every_address(release: Release) -> None:
    options = replace(OPTIONS, version=release)
    own = nodeport_addresses(SINGLE_STACK, options, IPFamily.IPV6)
    assert own == (() if release < Release.V1_31 else None)
    listed = replace(options, nodeport_addresses=(ip_network("192.168.50.0/24"),))
    of_other_family = nodeport_addresses(NODE, listed, IPFamily.IPV6)
    primary = (ip_address("fd00:50::11"),)
    assert of_other_family == (primary if release < Release.V1_31 else None)
    assert nodeport_addresses(NODE, options, IPFamily.IPV6) == primary


def test_every_address_is_asked_for_in_the_fib_where_it_may_be_another() -> None:
    options = replace(OPTIONS, version=Release.V1_31)
    (found,) = nft_tables((), (), SINGLE_STACK, options, IPFamily.IPV6)
    match = "ip6 daddr != ::1 meta l4proto . th dport vmap"
    assert rules(found, "services")[-1] == f"fib daddr type local {match} @service-nodeports"
    assert rules(found, "nodeport-endpoints-check") == (f"{match} @no-endpoint-nodeports",)
    assert "nodeport-ips" not in [item.name for item in found.sets]


@EVERY_RELEASE
def test_elements_of_the_firewall_lose_their_comment(release: Release) -> None:
    service = load_balancer(load_balancer_source_ranges=("198.51.100.0/24",))
    (element,) = elements(table(release, service), "firewall-ips")
    assert ("comment" in element) is (release < Release.V1_31)


@EVERY_RELEASE
def test_any_source_is_like_no_source_ranges(release: Release) -> None:
    for ranges in (("0.0.0.0/0",), ("0.0.0.0/0", "198.51.100.0/24")):
        service = load_balancer(load_balancer_source_ranges=ranges)
        open_to_all = release >= Release.V1_34
        assert bool(elements(table(release, service), "firewall-ips")) is not open_to_all
        options = replace(OPTIONS, version=release)
        items = (endpoint_slice(LOCAL, REMOTE),)
        nat, filtered, *_ = iptables_tables((service,), items, NODE, options, IPFamily.IPV4)
        assert any(c.name.startswith("KUBE-FW-") for c in nat.chains) is not open_to_all
        assert bool(rules(filtered, "KUBE-PROXY-FIREWALL")) is not open_to_all


BY_PREFIX = KubeProxyOptions(
    ProxyMode.NFTABLES,
    detect_local_mode=DetectLocalMode.INTERFACE_NAME_PREFIX,
    pod_interface_name_prefix="veth",
)


@EVERY_RELEASE
def test_interfaces_are_matched_by_name_since_1_33(release: Release) -> None:
    options = KubeProxyOptions(
        ProxyMode.NFTABLES,
        detect_local_mode=DetectLocalMode.BRIDGE_INTERFACE,
        pod_bridge_interface="cni0",
        version=release,
    )
    word = "iif" if release < Release.V1_33 else "iifname"
    found = local_traffic(NODE, options, IPFamily.IPV4)
    assert found == (f'{word} "cni0"', f'{word} != "cni0"')
    found = local_traffic(NODE, replace(BY_PREFIX, version=release), IPFamily.IPV4)
    assert found == (f'{word} "veth*"', f'{word} != "veth*"')


@EVERY_RELEASE
def test_prefix_of_an_interface_costs_the_table_up_to_1_32(release: Release) -> None:
    """`iif "veth*"` is refused with all the rest; a table without a rule that tells pods stands."""
    options = replace(BY_PREFIX, version=release)
    works = release >= Release.V1_33
    slices = (endpoint_slice(LOCAL, REMOTE),)
    policy_local = node_port(external_traffic_policy=TrafficPolicy.LOCAL)
    all_of_them = replace(options, nftables=NFTablesOptions(masquerade_all=True))
    for service, items, chosen, stands in (
        (cluster_ip(), slices, options, works),
        (cluster_ip(), (), options, True),
        (cluster_ip(), slices, all_of_them, True),
        (policy_local, slices, all_of_them, works),
    ):
        made = nft_tables((service,), items, NODE, chosen, IPFamily.IPV4)
        assert bool(made) is stands
        # no Service has the other family
        assert nft_tables((service,), items, NODE, chosen, IPFamily.IPV6)


@EVERY_RELEASE
@pytest.mark.parametrize(
    ("cidrs", "match"),
    [
        (("10.96.0.0/12",), "10.96.0.0/12"),
        (("10.96.0.0/16", "10.97.0.0/16"), "{ 10.96.0.0/15 }"),
        (("10.96.0.0/16", "10.98.0.0/16"), "{ 10.96.0.0/16, 10.98.0.0/16 }"),
        (("fd00:10:96::/108",), ""),
    ],
)
def test_unallocated_cluster_ips_are_dropped(
    release: Release, cidrs: tuple[str, ...], match: str
) -> None:
    options = replace(OPTIONS, version=release)
    ranges = tuple(map(ip_network, cidrs))
    (found,) = nft_tables((), (), NODE, options, IPFamily.IPV4, service_cidrs=ranges)
    comment = 'comment "Drop traffic to unallocated ClusterIPs"'
    expected = [f"ip daddr {match} drop {comment}"] if match and release >= Release.V1_33 else []
    assert list(rules(found, "cluster-ips-check")[1:]) == expected


@EVERY_RELEASE
def test_gate_takes_external_ips_away_but_not_their_chain(release: Release) -> None:
    gates = FeatureGates(allow_service_external_ips=False)
    service = cluster_ip(external_ips=(ip_address("198.51.100.7"),))
    found = table(release, service, feature_gates=gates)
    gated = release >= Release.V1_36
    keys = [element.split(" . ")[0] for element in elements(found, "service-ips")]
    assert ("198.51.100.7" in keys) is not gated
    assert rules(found, "external-SUSTUHLJ-default/web/tcp/http")
    options = replace(OPTIONS, version=release, feature_gates=gates)
    items = (endpoint_slice(LOCAL, REMOTE),)
    nat, *_ = iptables_tables((service,), items, NODE, options, IPFamily.IPV4)
    assert any("198.51.100.7" in rule for rule in rules(nat, "KUBE-SERVICES")) is not gated
    assert any(chain.name.startswith("KUBE-EXT-") for chain in nat.chains)


@EVERY_RELEASE
def test_endpoints_addresses_are_taken_as_they_are_written_up_to_1_30(release: Release) -> None:
    """They are sorted and told apart by their text, which their chains' names have, too."""
    spelled = ("FD00:10:244:2::10", "fd00:10:244:1:0:0:0:10")
    canonical = ("fd00:10:244:1::10", "fd00:10:244:2::10")
    read = load_objects((("slice.yaml", SPELLED_SLICE),)).endpoint_slices
    service = cluster_ip(
        cluster_ips=(ip_address("fd00:10:96::5"),), session_affinity=SessionAffinity.CLIENT_IP
    )
    options = replace(OPTIONS, version=release)
    (port,) = service_ports((service,), read, NODE, options, IPFamily.IPV6)
    expected = spelled if release is Release.V1_30 else canonical
    assert [item.text for item in port.cluster] == [f"[{text}]:8080" for text in expected]
    assert sorted(item.target for item in port.cluster) == [f"[{t}]:8080" for t in canonical]
    (made,) = nft_tables((service,), read, NODE, options, IPFamily.IPV6)
    names = [c.name for c in made.chains if c.name.startswith("endpoint-")]
    written = {f"{text.replace(':', '.')}/8080" for text in expected}
    assert {name.partition("__")[2] for name in names} == written
    tables = iptables_tables((service,), read, NODE, options, IPFamily.IPV6)
    found = [rule for table in tables for chain in table.chains for rule in chain.rules]
    targets = {rule.partition("--to-destination ")[2] for rule in found} - {""}
    assert targets == {f"[{text}]:8080" for text in canonical}


@EVERY_RELEASE
def test_long_comment_costs_the_table_until_it_is_cut(release: Release) -> None:
    service = cluster_ip(namespace="n" * 63, name="s" * 63)
    options = replace(OPTIONS, version=release)
    found = nft_tables((service,), (), NODE, options, IPFamily.IPV4)
    if release < Release.V1_37:
        assert found == ()
        return
    (element,) = elements(found[0], "no-endpoint-services")
    assert element.split('"')[1] == f"{'n' * 63}/{'s' * 63}:"


@EVERY_RELEASE
def test_udp_entries_of_a_service_without_endpoints(release: Release) -> None:
    """1.32 began to compare entries with endpoints, and until 1.37 left out who has none."""
    ports = (ServicePort(53, protocol=Protocol.UDP),)
    cluster = make_cluster()
    network = replace(cluster.network, kube_proxy=KubeProxyOptions(version=release))
    changed = replace(cluster, network=network, services=(cluster_ip(ports=ports),))
    flows = tuple(udp_flows(changed, changed.nodes[0]))
    left_alone = Release.V1_32 <= release < Release.V1_37
    assert [flow.backends for flow in flows] == ([] if left_alone else [frozenset()] * 2)


def test_node_port_without_endpoints_is_refused_by_port_alone() -> None:
    for release in Release:
        found = table(release, node_port(), slices=(endpoint_slice(),))
        (element,) = elements(found, "no-endpoint-nodeports")
        assert element == 'tcp . 30080 comment "default/web:http" : goto reject-chain'
