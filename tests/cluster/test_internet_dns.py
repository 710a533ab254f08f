"""The names of the lab's internet: its hosts', and those that Ingresses have."""

from __future__ import annotations

import pytest

from kns.cluster.internet_dns import InternetZone, internet_names
from kns.cluster.resolve import resolve
from tests.kinds.labs import lab

INGRESSES = """
loadBalancer: {pool: 192.0.2.16/28}
ingresses:
- name: shop
  rules:
  - {host: shop.test}
  - {host: "*.apps.test"}
  - {host: own.apps.test}
  - {host: www.example.com}
  - {}
- {name: other, ingressClassName: nobody, rules: [{host: unserved.test}]}
"""


def zone(body: str) -> InternetZone:
    return InternetZone(internet_names(resolve(lab(body).spec).cluster))


def answer(found: InternetZone, name: str, rdtype: str = "A") -> str:
    reply = found.lookup(name, rdtype)
    data = [record.data for record in reply.answer]
    return ",".join(data) or f"{reply.rcode.name} {len(data)}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop.test.", "192.0.2.17"),
        ("SHOP.test.", "192.0.2.17"),
        ("x.apps.test.", "192.0.2.17"),
        ("own.apps.test.", "192.0.2.17"),
        ("apps.test.", "NOERROR 0"),
        # RFC 4592: a name below one that exists is not the wildcard's
        ("x.own.apps.test.", "NXDOMAIN 0"),
        ("unserved.test.", "NXDOMAIN 0"),
        ("www.example.com.", "192.0.2.17"),
        ("example.com.", "203.0.113.10"),
        ("internet.example.com.", "203.0.113.10"),
    ],
)
def test_hosts_of_ingresses_lead_to_their_controller(name: str, expected: str) -> None:
    assert answer(zone(INGRESSES), name) == expected


def test_other_types_of_a_wildcards_name_are_empty() -> None:
    reply = zone(INGRESSES).lookup("x.apps.test.", "AAAA")
    assert (reply.rcode.name, reply.answer) == ("NOERROR", ())


def test_an_address_leads_back_to_a_name_that_is_none_of_a_wildcard() -> None:
    assert answer(zone(INGRESSES), "17.2.0.192.in-addr.arpa.", "PTR") == "www.example.com."


def test_without_a_balancer_the_nodes_are_where_the_hosts_are() -> None:
    body = "ingresses: [{name: shop, rules: [{host: shop.test}]}]"
    assert answer(zone(body), "shop.test.") == "172.18.0.2"


def test_without_ingresses_there_are_the_hosts() -> None:
    assert set(internet_names(resolve(lab("").spec).cluster)) == {
        "example.com.",
        "www.example.com.",
        "ns.example.com.",
        "internet.example.com.",
    }
