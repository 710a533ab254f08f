"""nft tables as text: loading, changing, reading; that nft agrees is shown in tests/end_to_end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kns.addresses import IPFamily
from kns.state.model import NftChain, NftSet, NftTable
from kns.state.nft import PIECE, NftChange, change, parse_tables, table_text

CLUSTER_IPS = NftSet("set", "cluster-ips", ("type ipv4_addr",), ("10.96.0.1", "10.96.0.2"))
SERVICES = NftSet(
    "map",
    "service-ips",
    ("type ipv4_addr . inet_proto . inet_service : verdict", 'comment "by address"'),
    (
        "10.96.0.1 . tcp . 80 : goto service-a",
        '10.96.0.2 . tcp . 80 comment "ns/b:http, or so" : drop',
    ),
)
KNOWN = NftSet(
    "set", "affinity-a", ("type ipv4_addr", "flags dynamic,timeout", "timeout 3h"), (), dynamic=True
)
HOOK = NftChain(
    "nat-prerouting",
    "type nat hook prerouting priority dstnat; policy accept;",
    ("ip daddr . meta l4proto . th dport vmap @service-ips",),
)
SERVICE_A = NftChain(
    "service-a",
    rules=("ip saddr @affinity-a goto ep-1", "numgen random mod 1 vmap { 0 : goto ep-1 }"),
)
ENDPOINT = NftChain("ep-1", rules=("meta l4proto tcp dnat to 10.244.1.2:8080",), comment="one")
TABLE = NftTable(
    IPFamily.IPV4,
    "kube-proxy",
    (KNOWN, CLUSTER_IPS, SERVICES),
    (ENDPOINT, HOOK, SERVICE_A),
    comment="rules",
)
TEXT = """\
table ip kube-proxy {
\tcomment "rules"
\tset affinity-a {
\t\ttype ipv4_addr
\t\tflags dynamic,timeout
\t\ttimeout 3h
\t}
\tset cluster-ips {
\t\ttype ipv4_addr
\t\telements = { 10.96.0.1, 10.96.0.2 }
\t}
\tmap service-ips {
\t\ttype ipv4_addr . inet_proto . inet_service : verdict
\t\tcomment "by address"
\t\telements = { 10.96.0.1 . tcp . 80 : goto service-a, \
10.96.0.2 . tcp . 80 comment "ns/b:http, or so" : drop }
\t}
\tchain nat-prerouting {
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tip daddr . meta l4proto . th dport vmap @service-ips
\t}
\tchain service-a {
\t\tip saddr @affinity-a goto ep-1
\t\tnumgen random mod 1 vmap { 0 : goto ep-1 }
\t}
\tchain ep-1 {
\t\tcomment "one"
\t\tmeta l4proto tcp dnat to 10.244.1.2:8080
\t}
}
"""


def with_set(item: NftSet, table: NftTable = TABLE) -> NftTable:
    return replace(table, sets=tuple(item if s.name == item.name else s for s in table.sets))


def with_chain(item: NftChain, table: NftTable = TABLE) -> NftTable:
    chains = {chain.name: chain for chain in table.chains} | {item.name: item}
    return replace(table, chains=tuple(chains[name] for name in sorted(chains)))


def without_chain(name: str, table: NftTable) -> NftTable:
    return replace(table, chains=tuple(chain for chain in table.chains if chain.name != name))


def test_table_is_one_block_with_hooks_and_maps_first() -> None:
    assert table_text(TABLE) == TEXT


def test_reading_is_the_inverse_of_writing() -> None:
    assert parse_tables(TEXT) == (TABLE,)


def test_reading_sorts_and_joins_what_nft_wraps() -> None:
    text = """\
table ip kube-proxy {
\tcomment "rules"
\tmap service-ips {
\t\ttype ipv4_addr . inet_proto . inet_service : verdict
\t\tcomment "by address"
\t\telements = { 10.96.0.2 . tcp . 80 comment "ns/b:http, or so" : drop,
\t\t\t     10.96.0.1 . tcp . 80 : goto service-a }
\t}

\tset cluster-ips {
\t\ttype ipv4_addr
\t\telements = { 10.96.0.2, 10.96.0.1 }
\t}

\tset affinity-a {
\t\ttype ipv4_addr
\t\tflags dynamic,timeout
\t\ttimeout 3h
\t\telements = { 10.244.1.7 expires 2h59m, 10.244.1.8 expires 1h }
\t}

\tchain nat-prerouting {
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tip daddr . meta l4proto . th dport vmap @service-ips
\t}

\tchain service-a {
\t\tip saddr @affinity-a goto ep-1
\t\tnumgen random mod 1 vmap { 0 : goto ep-1 }
\t}

\tchain ep-1 {
\t\tcomment "one"
\t\tmeta l4proto tcp dnat to 10.244.1.2:8080
\t}
}
table inet other {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t}
}
"""
    assert parse_tables(text) == (TABLE,)


def test_equal_tables_need_nothing() -> None:
    assert change(TABLE, TABLE) == NftChange("")


def test_absent_tables_need_nothing() -> None:
    assert change(None, None) == NftChange("")


def test_unwanted_table_goes_whole() -> None:
    assert change(TABLE, None) == NftChange("delete table ip kube-proxy\n")


def test_changed_element_is_deleted_by_its_key_and_added() -> None:
    changed = (SERVICES.elements[0], "10.96.0.2 . tcp . 80 : goto service-a")
    assert change(TABLE, with_set(replace(SERVICES, elements=changed))) == NftChange(
        "delete element ip kube-proxy service-ips { 10.96.0.2 . tcp . 80 }\n"
        "add element ip kube-proxy service-ips { 10.96.0.2 . tcp . 80 : goto service-a }\n"
    )


def test_replaced_endpoint_writes_two_chains_and_leaves_the_rest() -> None:
    fresh = NftChain("ep-2", rules=("meta l4proto tcp dnat to 10.244.1.3:8080",))
    service = replace(SERVICE_A, rules=("numgen random mod 1 vmap { 0 : goto ep-2 }",))
    desired = without_chain("ep-1", with_chain(service, with_chain(fresh)))
    assert change(TABLE, desired) == NftChange(
        "flush chain ip kube-proxy service-a\n"
        "flush chain ip kube-proxy ep-1\n"
        "table ip kube-proxy {\n"
        '\tcomment "rules"\n'
        "\tchain service-a {\n"
        "\t\tnumgen random mod 1 vmap { 0 : goto ep-2 }\n"
        "\t}\n"
        "\tchain ep-2 {\n"
        "\t\tmeta l4proto tcp dnat to 10.244.1.3:8080\n"
        "\t}\n"
        "}\n",
        "delete chain ip kube-proxy ep-1\n",
    )


def test_set_with_another_timeout_is_made_anew_and_its_rules_rewritten() -> None:
    found = change(TABLE, with_set(replace(KNOWN, header=(*KNOWN.header[:2], "timeout 1h"))))
    assert found.text.startswith(
        "flush chain ip kube-proxy service-a\n"
        "delete set ip kube-proxy affinity-a\n"
        "table ip kube-proxy {\n"
    )
    assert "\t\ttimeout 1h\n" in found.text
    assert "chain ep-1" not in found.text


def test_another_hook_loads_the_table_anew() -> None:
    """A base chain keeps the hook, priority and policy that it was made with."""
    tampered = with_chain(replace(HOOK, hook=HOOK.hook.replace("accept", "drop")))
    assert change(tampered, TABLE) == NftChange(f"delete table ip kube-proxy\n{TEXT}")


def test_lone_range_in_braces_is_named_twice_to_stay_in_braces() -> None:
    rules = ("ip saddr != { 10.0.0.0/8 } drop", "ip6 saddr != { ::/0 } drop")
    text = table_text(NftTable(IPFamily.IPV4, "t", chains=(NftChain("c", rules=rules),)))
    assert "ip saddr != { 10.0.0.0/8, 10.0.0.0/8 } drop\n" in text
    assert "ip6 saddr != { ::/0, ::/0 } drop\n" in text


def test_translation_by_a_map_reads_the_same_from_any_nft() -> None:
    """nft 1.0.6 leaves out the parts of the map's values, later ones print them."""
    texts = (
        f"table ip t {{\n\tchain c {{\n\t\tmeta l4proto tcp dnat ip {parts}to numgen random mod 1"
        " map { 0 : 10.244.1.10 . 8080 }\n\t}\n}\n"
        for parts in ("", "addr . port ")
    )
    first, second = map(parse_tables, texts)
    assert first == second
    assert first[0].chains[0].rules


def test_lone_element_of_a_set_stays_a_set() -> None:
    """In braces twice, or nft would print it without them."""
    rules = ("ip daddr { 10.96.0.0/15 } drop", "ip saddr != { 10.0.0.0/8 } drop")
    table = NftTable(IPFamily.IPV4, "t", chains=(NftChain("c", rules=rules),))
    text = table_text(table)
    assert "ip daddr { 10.96.0.0/15, 10.96.0.0/15 } drop" in text
    assert "ip saddr != { 10.0.0.0/8, 10.0.0.0/8 } drop" in text


DNAT_BY_MAP = "meta l4proto tcp dnat ip to numgen random mod 1 map {{ 0 : 10.0.0.1 . {} }}"


def big_table(services: int) -> NftTable:
    """A chain with a map of its own for each service, and one that leads to them."""
    chains = tuple(
        NftChain(
            f"s{n:05}",
            rules=(
                "meta l4proto tcp dnat ip to numgen random mod 1"
                f" map {{ 0 : 10.0.{n >> 8}.{n & 255} . 80 }}",
            ),
        )
        for n in range(services)
    )
    lead = NftChain("lead", HOOK.hook, ("tcp dport vmap @services",))
    return NftTable(IPFamily.IPV4, "t", (SERVICES,), (lead, *chains))


def test_what_no_packet_meets_yet_is_loaded_in_pieces() -> None:
    small, big = (change(None, big_table(count)) for count in (PIECE, PIECE + 1))
    assert small.prepared == ()
    assert [text.count("chain ") for text in big.prepared] == [PIECE, 1]
    assert not any("hook" in text or "services" in text for text in big.prepared)
    assert "chain lead" in big.text
    assert "service-ips" in big.text
    assert "chain s0" not in big.text
    read: dict[str, NftChain] = {}
    for text in (*big.prepared, big.text):
        read |= {chain.name: chain for chain in parse_tables(text)[0].chains}
    assert tuple(sorted(read.values(), key=lambda chain: chain.name)) == tuple(
        sorted(big_table(PIECE + 1).chains, key=lambda chain: chain.name)
    )


def test_what_a_map_leads_to_stands_in_the_same_piece_or_an_earlier_one() -> None:
    services = [
        NftChain(f"s{n:05}", rules=(f"numgen random mod 1 vmap {{ 0 : goto e{n:05} }}",))
        for n in range(PIECE + 1)
    ]
    endpoints = [
        NftChain(f"e{n:05}", rules=("ip saddr 10.0.0.1 jump mark", "dnat to 10.0.0.1:80"))
        for n in range(PIECE + 1)
    ]
    sticky = (
        NftChain("sticky", rules=("numgen random mod 1 vmap { 0 : goto kept }",)),
        NftChain("kept", rules=("update @clients { ip saddr }",)),
    )
    mark = NftChain("mark", rules=("meta mark set meta mark | 0x00004000",))
    table = NftTable(IPFamily.IPV4, "t", (SERVICES,), (*endpoints, *services, mark, *sticky, HOOK))
    found = change(None, table)
    names = [
        [chain.name for chain in parse_tables(text)[0].chains]
        for text in (*found.prepared, found.text)
    ]
    assert [len(piece) for piece in names[:2]] == [2 * PIECE + 1, 2]
    assert "mark" in names[0]
    assert {f"s{PIECE:05}", f"e{PIECE:05}"} == set(names[1])
    # a set of the table comes with the last of them
    assert set(names[2]) == {"sticky", "kept", HOOK.name}


def test_pieces_need_only_the_first() -> None:
    """Several are loaded at a time: a chain that two of them lead to can't be in the second."""
    shared, late = "numgen random mod 1 vmap { 0 : goto e }", f"s{PIECE:05}"
    services = [
        NftChain(f"s{n:05}", rules=(shared if n >= PIECE else DNAT_BY_MAP.format(n),))
        for n in range(2 * PIECE + 1)
    ]
    ends = (NftChain("e", rules=("jump mark", "dnat to 10.0.0.1:80")), NftChain("mark"))
    found = change(None, NftTable(IPFamily.IPV4, "t", (), (*services, *ends)))
    names = [{chain.name for chain in parse_tables(text)[0].chains} for text in found.prepared]
    assert [late in piece for piece in names] == [False, True, False]
    assert [{"e", "mark"} <= piece for piece in names] == [True, False, False]


def test_chain_that_refers_to_another_stays_in_the_transaction() -> None:
    table = big_table(PIECE + 1)
    leading = NftChain("s99999", rules=("numgen random mod 1 vmap { 0 : goto s00000 }",))
    found = change(None, replace(table, chains=(*table.chains, leading)))
    assert "chain s99999" in found.text


@pytest.mark.parametrize(
    ("printed", "rule"),
    [
        ("meta mark 0x00000000/1 return", "meta mark & 0x80000000 == 0x00000000 return"),
        ("meta mark != 0x00000000/1 accept", "meta mark & 0x80000000 != 0x00000000 accept"),
        ("meta mark 0x40000000/2 drop", "meta mark & 0xc0000000 == 0x40000000 drop"),
    ],
)
def test_a_mask_of_the_highest_bits_is_read_as_it_is_written(printed: str, rule: str) -> None:
    (table,) = parse_tables(f"table ip t {{\n\tchain c {{\n\t\t{printed}\n\t}}\n}}\n")
    assert table.chains[0].rules == (rule,)
