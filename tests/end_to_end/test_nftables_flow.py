"""Any Service in nftables mode, in each structure of its table: the promised endpoints answer.

The rooms, the clients and the promises are those of the same test in iptables mode; each Service
replaces the one before by a partial transaction, as in a running cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings

from kns.addresses import IPFamily
from kns.compile.proxy.nftables import nft_tables
from kns.kernel import nftables
from kns.kinds.endpointslice import Endpoint
from kns.kinds.release import Release
from kns.kinds.service import Service, SessionAffinity, TrafficPolicy
from kns.state.model import NftTable
from kns.state.nft import change
from tests.compile.proxy.services import OPTIONS, endpoint_slice
from tests.end_to_end.test_iptables_flow import (
    CLIENTS,
    DROPPED,
    NODE,
    SERVICES,
    TARGETS,
    Place,
    endpoints_strategy,
    observed,
    place,
    promised,
    usable,
)

pytestmark = pytest.mark.kernel

#: the four netns with their servers, as the other test builds them
__all__ = ["place"]


class Loader:
    """Replaces what node's table holds, by the rules of one release."""

    def __init__(self, made: Place, release: Release) -> None:
        self.release = release
        self._options = replace(OPTIONS, version=release)
        self._netns = made.name("node")
        self._table: NftTable | None = None

    def load(self, service: Service, endpoints: tuple[Endpoint, ...]) -> None:
        slices = (endpoint_slice(*endpoints),)
        (table,) = nft_tables((service,), slices, NODE, self._options, IPFamily.IPV4)
        nftables.apply(self._netns, change(self._table, table))
        self._table = table

    def unload(self) -> None:
        """Leave nothing to the next release."""
        nftables.apply(self._netns, change(self._table, None))


@pytest.fixture(
    scope="module",
    params=[Release.V1_30, Release.V1_34, Release.V1_36, Release.V1_37],
    ids=str,
)
def loader(place: Place, request: pytest.FixtureRequest) -> Iterator[Loader]:
    made = Loader(place, request.param)
    yield made
    made.unload()


def expected_of(
    service: Service, endpoints: tuple[Endpoint, ...], client: str, target: str, release: Release
) -> tuple[set[str], str]:
    """What is promised, and the two cases in which nftables mode decides earlier."""
    before_dnat = release < Release.V1_34
    if target not in ("external IP", "balancer IP"):
        return promised(service, endpoints, client, target)
    everywhere = usable(endpoints)
    here = usable(tuple(item for item in endpoints if item.node_name == NODE.name))
    ranges = [ip_network(text) for text in service.load_balancer_source_ranges]
    source = ip_address(CLIENTS[client])
    barred = target == "balancer IP" and ranges and not any(source in item for item in ranges)
    if barred and (everywhere or client != "node" or not before_dnat):
        # firewall-check comes before anybody looks for endpoints; in output, since 1.34
        return {DROPPED}, DROPPED
    is_local = service.external_traffic_policy is TrafficPolicy.LOCAL
    if before_dnat and client == "node" and is_local and everywhere and not here:
        # filter-output is before nat-output: the short cut to other nodes is never reached
        return {DROPPED}, DROPPED
    return promised(service, endpoints, client, target)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(service=SERVICES, endpoints=endpoints_strategy())
def test_exactly_the_promised_endpoints_answer(
    place: Place,
    loader: Loader,
    service: Service,
    endpoints: tuple[Endpoint, ...],
) -> None:
    loader.load(service, endpoints)
    for client in CLIENTS:
        for target, address in TARGETS.items():
            expected, source = expected_of(service, endpoints, client, target, loader.release)
            sticky = service.session_affinity is SessionAffinity.CLIENT_IP
            actual = observed(place, client, address, expected, sticky=sticky)
            wanted = {(server, source) for server in expected}
            if sticky:
                assert len(actual) == 1, (client, target)
                assert actual <= wanted, (client, target, actual, wanted)
            else:
                assert actual == wanted, (client, target)
