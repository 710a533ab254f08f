"""`kns rules`: from the rules of a netns to what a packet meets, in order, at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from kns.addresses import IPFamily
from kns.cluster.manifests import ClusterObjects, load_objects
from kns.compile.proxy.iptables import iptables_tables
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.networking import ProxyMode
from kns.kinds.service import Service, TrafficPolicy
from kns.probe.rules import destinations
from kns.report.chain_words import hook_purpose, purpose
from kns.report.rules import Options, rules_json, rules_text
from kns.state.iptables import parse_rule
from kns.state.listing import ChainListing, RuleListing, in_order
from kns.state.model import Count, IptablesTable, Netns
from kns.state.nft import parse_tables
from kns.state.packet import ListedRule
from tests.compile.proxy.services import (
    NODE,
    OPTIONS,
    cluster_ip,
    endpoint,
    endpoint_slice,
    load_balancer,
    node_port,
)
from tests.kube_proxy_cases import CASES, states_of_case

SLICE = endpoint_slice(endpoint("10.244.1.10"), endpoint("10.244.2.10", "node2"))
OTHER = endpoint_slice(endpoint("10.244.1.20"), name="other", service="web-2")


def counted(table: IptablesTable) -> IptablesTable:
    """The table, each rule with one packet of 60 bytes."""
    chains = (replace(item, counts=(Count(1, 60),) * len(item.rules)) for item in table.chains)
    return replace(table, chains=tuple(chains))


def listing(
    *services: Service,
    slices: tuple[EndpointSlice, ...] = (SLICE, OTHER),
    every: bool = False,
) -> tuple[ChainListing, ...]:
    """What packets to the first of the services meet, or (`every`) to anybody."""
    tables = iptables_tables(services, slices, NODE, OPTIONS, IPFamily.IPV4)
    space = Netns("node1", iptables=tuple(map(counted, tables)))
    service = services[0]
    own = [item for item in slices if item.service == service.name]
    asked = () if every else destinations(service, own, NODE, IPFamily.IPV4)
    return in_order(space, IPFamily.IPV4, asked)


def rules(chains: tuple[ChainListing, ...]) -> Iterator[tuple[ChainListing, ListedRule]]:
    """Every rule with its chain, in order."""
    for chain in chains:
        for item in chain.rules:
            yield from below(chain, item)


def below(chain: ChainListing, item: RuleListing) -> Iterator[tuple[ChainListing, ListedRule]]:
    yield chain, item.rule
    for element in item.elements:
        yield from below(chain, element)
    yield from rules(item.chains)


def heads(chains: tuple[ChainListing, ...]) -> list[ChainListing]:
    return list(dict.fromkeys(chain for chain, _ in rules(chains)))


def abouts(chains: tuple[ChainListing, ...]) -> dict[str, str]:
    return {
        chain.name[:9]: purpose(chain.table, chain.name, (r.rule.text for r in chain.rules))
        for chain in heads(chains)
    }


def test_a_packet_to_a_cluster_ip_meets_its_chains_in_order() -> None:
    found = listing(cluster_ip())
    assert [chain.name[:11] for chain in heads(found)][:6] == [
        "PREROUTING",
        "KUBE-SERVIC",
        "KUBE-SVC-CD",
        "KUBE-MARK-M",
        "KUBE-SEP-GW",
        "KUBE-SEP-IQ",
    ]
    hooks = [f"{chain.table} {chain.name}" for chain in listing(cluster_ip(), every=True)]
    # in the order of the hooks, and of the priorities at each
    assert hooks == [
        "nat PREROUTING",
        "filter INPUT",
        "filter FORWARD",
        "nat OUTPUT",
        "filter OUTPUT",
        "nat POSTROUTING",
    ]


def test_rules_of_other_services_are_left_out() -> None:
    """`web` is how `web-2` begins; node port rules count only where there are any."""
    other = node_port(name="web-2", cluster_ips=(cluster_ip().cluster_ips[0] + 1,))
    found = listing(cluster_ip(), other)
    comments = [parse_rule(rule.text).comment for _, rule in rules(found)]
    assert any("default/web:" in comment for comment in comments)
    assert not any("web-2" in comment for comment in comments)
    assert "KUBE-NODEPORTS" not in {chain.name for chain in heads(found)}
    everything = listing(cluster_ip(), other, every=True)
    assert any("web-2" in rule.text for _, rule in rules(everything))


def test_a_chain_is_shown_once() -> None:
    shown = [(chain.table, chain.name) for chain in heads(listing(load_balancer()))]
    assert len(shown) == len(set(shown))


def test_every_chain_says_what_it_does() -> None:
    service = load_balancer(
        external_traffic_policy=TrafficPolicy.LOCAL,
        load_balancer_source_ranges=("10.0.0.0/8",),
        health_check_node_port=32100,
    )
    chains = listing(service)
    found = abouts(chains)
    for base in chains:
        assert hook_purpose(base.hook, base.priority, translates=base.translates)
        found.pop(base.name[:9], "")
    assert [name for name, about in found.items() if not about] == []
    assert found["KUBE-SVC-"] == (
        "takes one of 2 endpoints by chance, of all endpoints (policy Cluster)"
    )
    assert found["KUBE-SVL-"] == (
        "takes the only endpoint, of this node's own endpoints (policy Local)"
    )
    assert found["KUBE-EXT-"] == "from outside: keeps the client's address and stays on this node"


def test_an_external_chain_without_local_endpoint_says_so() -> None:
    service = node_port(external_traffic_policy=TrafficPolicy.LOCAL)
    remote = endpoint_slice(endpoint("10.244.2.10", "node2"))
    found = listing(service, slices=(remote,))
    assert abouts(found)["KUBE-EXT-"].endswith("which has no endpoint: what is left is dropped")
    dropped = [parse_rule(rule.text) for _, rule in rules(found) if rule.target == "DROP"]
    assert any("has no local endpoints" in rule.comment for rule in dropped)


def test_refused_services_show_where() -> None:
    found = listing(cluster_ip(), slices=())
    refusals = [(c.table, c.name) for c, rule in rules(found) if rule.target == "REJECT"]
    assert refusals == [("filter", "KUBE-SERVICES")]


def test_text_has_counters_and_indents_by_jump() -> None:
    lines = rules_text(listing(cluster_ip()), Options(raw=True)).splitlines()
    assert lines[0] == " PACKETS  RULE"
    assert lines[2].startswith('       1    -m comment --comment "kubernetes service portals"')
    assert lines[4].startswith("       1      -d 10.96.10.1/32")


def test_in_short_a_rule_has_no_comment_and_no_word_is_broken() -> None:
    text = rules_text(listing(load_balancer()), Options())
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "--comment" not in text
    assert "      -d 10.96.10.1/32 -p tcp --dport 80 -j KUBE-SVC-CDGGSHYLG3RE2FKL" in text
    names = {chain.name for chain in heads(listing(load_balancer())) if len(chain.name) > 20}
    assert names <= set(text.replace(":", " ").split())


def test_what_any_packet_meets_is_counted_and_shown_on_demand() -> None:
    found = listing(cluster_ip())
    lines = rules_text(found, Options()).splitlines()
    everything = rules_text(found, Options(general=True))
    assert "KUBE-FORWARD" not in "".join(lines)
    assert "KUBE-FORWARD" in everything
    rules_of_all = [line for line in everything.splitlines() if line.startswith("       1 ")]
    rules_shown = [line for line in lines if line.startswith("       1 ")]
    hidden = len(rules_of_all) - len(rules_shown)
    assert hidden > 0
    assert lines[-1] == f"and {hidden} rules that any packet meets (--all)"


def test_a_rule_that_no_packet_met_is_dim() -> None:
    table = IptablesTable(IPFamily.IPV4, "nat", ())
    chains = iptables_tables((cluster_ip(),), (SLICE,), NODE, OPTIONS, IPFamily.IPV4)[0].chains
    cold = tuple(replace(item, counts=(Count(0, 0),) * len(item.rules)) for item in chains)
    space = Netns("node1", iptables=(replace(table, chains=cold),))
    lines = rules_text(in_order(space, IPFamily.IPV4), Options(general=True, colour=True))
    assert "\x1b[2m       0    -j KUBE-SERVICES\x1b[0m" in lines.splitlines()


def test_json_has_each_rule_with_its_purpose() -> None:
    found = rules_json(listing(cluster_ip()))
    assert found[1] == {
        "table": "nat",
        "chain": "KUBE-SERVICES",
        "depth": 1,
        "packets": 1,
        "bytes": 60,
        "rule": '-d 10.96.10.1/32 -p tcp -m comment --comment "default/web:http cluster IP"'
        " -m tcp --dport 80 -j KUBE-SVC-CDGGSHYLG3RE2FKL",
        "target": "KUBE-SVC-CDGGSHYLG3RE2FKL",
        "about": "finds the service by address, protocol and port",
    }


# -- nftables, as each release of kube-proxy writes it ---------------------------------------------

RULESETS = sorted(
    path.relative_to(CASES).as_posix() for path in CASES.glob("*/nftables/*/ruleset.nft")
)


@cache
def objects_of(case: Path) -> ClusterObjects:
    return load_objects([(case.name, (case / "objects.yaml").read_text())])


@pytest.mark.parametrize("ruleset", RULESETS)
def test_every_captured_ruleset_is_read_and_told_at_80_columns(ruleset: str) -> None:
    """Every rule is understood, and of each Service its address is found."""
    path = CASES / ruleset
    tables = parse_tables(path.read_text())
    objects = objects_of(path.parents[2])
    node = next(item for item in objects.nodes if item.name == "node1")
    for family in IPFamily:
        space = Netns("node1", nftables=tuple(t for t in tables if t.family is family))
        everything = rules_text(in_order(space, family), Options(general=True))
        assert longest_without_names(everything) <= 80
        for service in objects.services:
            own = [
                item
                for item in objects.endpoint_slices
                if (item.namespace, item.service) == (service.namespace, service.name)
            ]
            asked = destinations(service, own, node, family)
            text = rules_text(in_order(space, family, asked), Options())
            for address in service.cluster_ips if asked else ():
                # 1.34 could not load comments as long as those of the longest names
                if address.version == family.version and f"{address} ." in path.read_text():
                    assert f"{address} ." in text, (service.full_name, text)


def longest_without_names(text: str) -> int:
    """The length of the longest line that is more than one name."""
    return max((len(line) for line in text.splitlines() if len(line.split()) > 1), default=0)


def test_backends_in_a_map_are_told_one_by_one() -> None:
    path = CASES / "clusterip-2eps/nftables/1.36/ruleset.nft"
    state = next(states_of_case(path.parents[2], ProxyMode.NFTABLES))
    (service,) = state.objects.services
    slices = state.objects.endpoint_slices
    asked = destinations(service, slices, state.node, IPFamily.IPV4)
    space = Netns("node1", nftables=parse_tables(path.read_text()))
    lines = rules_text(in_order(space, IPFamily.IPV4, asked), Options()).splitlines()
    start = next(n for n, line in enumerate(lines) if "dnat ip to numgen" in line)
    assert [line.strip() for line in lines[start : start + 3]] == [
        "meta l4proto tcp dnat ip to numgen random mod 2 map { … }",
        "0 : 10.244.1.10 . 8080",
        "1 : 10.244.2.10 . 8080",
    ]
    assert "jump services" in lines[lines.index("            services: as above") - 1]
