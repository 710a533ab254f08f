"""Who answered: the server's own words first, the address where it says nothing."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from kns.probe.identify import identify
from kns.probe.model import Attempt
from kns.promise.flow import Outcome

OWNERS = {ip_address("10.244.1.2"): "pod2", ip_address("10.96.0.10"): "svc/svc-a"}


def answered(body: str, address: str = "10.96.0.10") -> Attempt:
    return Attempt(Outcome.CONNECTED, server_address=ip_address(address), body=body)


def whoami(**fields: str) -> str:
    base = {"namespace": "default", "pod": "pod3", "container": "web", "hostname": "pod3"}
    addresses = {"client_address": "10.244.0.2", "server_address": "10.244.1.3"}
    return json.dumps({**base, **addresses, **fields})


def test_identify_takes_the_servers_word() -> None:
    found = identify(answered(whoami()), OWNERS)
    assert (found.backend, found.container) == ("pod3", "web")
    seen = (str(found.server_address), str(found.client_address_seen))
    assert seen == ("10.244.1.3", "10.244.0.2")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"namespace": "shop", "pod": "cart"}, "shop/cart"),
        ({"namespace": "", "pod": "", "hostname": "internet"}, "internet"),
    ],
)
def test_identify_names_as_people_do(fields: dict[str, str], name: str) -> None:
    assert identify(answered(whoami(**fields)), OWNERS).backend == name


def test_identify_writes_addresses_in_one_form() -> None:
    found = identify(answered(whoami(client_address="FD00:10:244:0::2")), OWNERS)
    assert str(found.client_address_seen) == "fd00:10:244::2"


@pytest.mark.parametrize("body", ["", "hello", "[1]", '{"pod": "pod3"}', "{"])
def test_identify_of_a_strange_server_goes_by_its_address(body: str) -> None:
    assert identify(answered(body, "10.244.1.2"), OWNERS).backend == "pod2"


def test_identify_of_a_strange_server_behind_a_service_is_nobody() -> None:
    assert identify(answered("hello"), OWNERS).backend == ""


def test_identify_leaves_failures_alone() -> None:
    failed = Attempt(Outcome.REFUSED, body=whoami())
    assert identify(failed, OWNERS) is failed
