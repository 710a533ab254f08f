"""The table of flows through real curl: what the promise and the rules say, the kernel does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kns.engine.labs import running
from kns.kinds.common import Protocol
from kns.kinds.networking import ProxyMode
from kns.kinds.release import NEWEST
from kns.probe.addresses import owners
from kns.probe.ask.asking import Asker
from kns.probe.ask.places import places_of
from kns.promise.check import Ask, Datagrams, Http
from kns.promise.flow import DROPPED, REFUSED, Outcome
from kns.promise.location import Location
from kns.state.packet import Verdict
from tests.end_to_end.labfiles import OneLab
from tests.flows import LAB, TEXT
from tests.state.test_walk_flows import NODE, NODE6, PROMISED, Flow, packet_of

pytestmark = pytest.mark.kernel

#: of three endpoints, one is missed once in ten million runs
ENOUGH = 40
CASES = [
    pytest.param(
        mode,
        flow,
        id=f"{flow.name}-{mode}",
        marks=pytest.mark.ipvs if mode is ProxyMode.IPVS else (),
    )
    for mode in ProxyMode
    for flow in PROMISED
    if (mode, NEWEST) in flow.proxies
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneLab]:
    made = OneLab(LAB, tmp_path_factory.mktemp("flows"))
    try:
        yield made
    finally:
        made.remove()


@pytest.mark.parametrize(("mode", "flow"), CASES)
def test_the_kernel_does_the_same(lab: OneLab, mode: ProxyMode, flow: Flow) -> None:
    lab.ensure(TEXT, mode)
    found = running(LAB)
    packet = packet_of(flow, found.cluster)
    owner = found.cluster.owner(packet.source)
    assert owner is not None
    source = Location(owner)
    asker = Asker(places_of(found.name, found.paths), owners(found.cluster))
    count = ENOUGH if len(flow.endpoints) > 1 else 1
    ask: Ask = Http(packet.destination, flow.port, count)
    if flow.protocol is Protocol.UDP:
        ask = Datagrams(flow.protocol, packet.destination, flow.port, count)
    seen = asker.observe(source, ask)
    assert isinstance(seen, tuple)
    if not flow.endpoints:
        expected = REFUSED if flow.ends is Verdict.REJECT else DROPPED
        assert {attempt.outcome for attempt in seen} == set(expected)
        return
    assert {attempt.outcome for attempt in seen} == {Outcome.CONNECTED}
    answered = {attempt.backend for attempt in seen}
    # a client of a service with session affinity has one backend
    assert answered == flow.endpoints or ("affinity" in flow.name and len(answered) == 1)
    if flow.source in (NODE, NODE6):  # it keeps an address of its own, masqueraded or not
        return
    hidden = {a.backend for a in seen if a.client_address_seen not in owner.addresses}
    assert hidden == flow.masqueraded & answered
