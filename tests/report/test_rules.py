"""`kns rules`: from what iptables-save -c prints to what a packet meets, in order."""

from __future__ import annotations

import re

from kns.addresses import IPFamily
from kns.compile.proxy.iptables import iptables_tables
from kns.kinds.service import Service, TrafficPolicy
from kns.report.rules import (
    CountedRule,
    Entry,
    Tables,
    belongs,
    parse_counted,
    rules_json,
    rules_text,
    walk,
)
from kns.state.iptables import save_text
from tests.compile.proxy.services import (
    NODE,
    OPTIONS,
    cluster_ip,
    endpoint,
    endpoint_slice,
    load_balancer,
    node_port,
)

SLICE = endpoint_slice(endpoint("10.244.1.10"), endpoint("10.244.2.10", "node2"))
OTHER = endpoint_slice(endpoint("10.244.1.20"), name="other", service="web-2")


def tables(*services: Service, slices: tuple[object, ...] = (SLICE, OTHER)) -> Tables:
    """The tables of these services, each rule with one packet of 60 bytes."""
    compiled = iptables_tables(services, slices, NODE, OPTIONS, IPFamily.IPV4)  # type: ignore[arg-type]
    return parse_counted(re.sub(r"^-A", "[1:60] -A", save_text(compiled), flags=re.M))


def chains(entries: tuple[Entry, ...]) -> list[tuple[str, int]]:
    """The heads of the chains, in order: the first eleven letters tell the kind."""
    return [(entry.chain[:11], entry.depth) for entry in entries if entry.rule is None]


def abouts(entries: tuple[Entry, ...]) -> dict[str, str]:
    return {entry.chain[:9]: entry.about for entry in entries if entry.rule is None}


def test_counters_and_rules_are_read() -> None:
    text = "*nat\n:A - [0:0]\n:B - [0:0]\n[12:720] -A A -p tcp -j B\n[0:0] -A B\nCOMMIT\n"
    found = parse_counted(text)
    assert found == {
        "nat": {"A": (CountedRule(12, 720, "-p tcp -j B"),), "B": (CountedRule(0, 0, ""),)}
    }
    assert (found["nat"]["A"][0].target, found["nat"]["B"][0].target) == ("B", "")


def test_a_packet_to_a_cluster_ip_meets_its_chains_in_order() -> None:
    entries = walk(tables(cluster_ip()), "default/web")
    assert chains(entries)[:6] == [
        ("PREROUTING", 0),
        ("KUBE-SERVIC", 2),
        ("KUBE-SVC-CD", 4),
        ("KUBE-MARK-M", 6),
        ("KUBE-SEP-GW", 6),
        ("KUBE-SEP-IQ", 6),
    ]
    hooks = [entry.chain for entry in entries if entry.rule is None and entry.depth == 0]
    assert hooks == ["PREROUTING", "OUTPUT", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]


def test_rules_of_other_services_are_left_out() -> None:
    """`web` is how `web-2` begins; node port rules count only where there are any."""
    other = node_port(name="web-2")
    found = walk(tables(cluster_ip(), other), "default/web")
    comments = [entry.rule.comment for entry in found if entry.rule is not None]
    assert not any("web-2" in comment for comment in comments)
    assert "KUBE-NODEPORTS" not in {entry.chain for entry in found}
    everything = walk(tables(cluster_ip(), other))
    assert any("web-2" in entry.rule.comment for entry in everything if entry.rule is not None)


def test_a_chain_is_shown_once() -> None:
    entries = walk(tables(load_balancer()), "default/web")
    heads = [(entry.table, entry.chain) for entry in entries if entry.rule is None]
    assert len(heads) == len(set(heads))


def test_every_chain_says_what_it_does() -> None:
    service = load_balancer(
        external_traffic_policy=TrafficPolicy.LOCAL,
        load_balancer_source_ranges=("10.0.0.0/8",),
        health_check_node_port=32100,
    )
    entries = walk(tables(service), "default/web")
    assert [entry.chain for entry in entries if entry.rule is None and not entry.about] == []
    found = abouts(entries)
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
    entries = walk(tables(service, slices=(remote,)), "default/web")
    assert abouts(entries)["KUBE-EXT-"].endswith("which has no endpoint: what is left is dropped")
    dropped = [e.rule for e in entries if e.rule is not None and e.rule.target == "DROP"]
    assert any("has no local endpoints" in rule.comment for rule in dropped)


def test_refused_services_show_where() -> None:
    entries = walk(tables(cluster_ip(), slices=()), "default/web")
    refusals = [e for e in entries if e.rule is not None and e.rule.target == "REJECT"]
    assert [(entry.table, entry.chain) for entry in refusals] == [("filter", "KUBE-SERVICES")]


def test_comments_belong_to_one_service() -> None:
    assert belongs("default/web cluster IP", "default/web")
    assert belongs("default/web:http -> 10.244.1.10:8080", "default/web")
    assert belongs("masquerade traffic for default/web:http external destinations", "default/web")
    assert not belongs("default/web-2 cluster IP", "default/web")
    assert not belongs("my-default/web cluster IP", "default/web")


def test_text_has_counters_and_indents_by_jump() -> None:
    lines = rules_text(walk(tables(cluster_ip()), "default/web")).splitlines()
    assert lines[0] == " PACKETS  RULE"
    assert lines[2].startswith('       1    -m comment --comment "kubernetes service portals"')
    assert lines[4].startswith("       1        -d 10.96.10.1/32")


def test_json_has_each_rule_with_its_purpose() -> None:
    found = rules_json(walk(tables(cluster_ip()), "default/web"))
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
