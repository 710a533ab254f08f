"""Faults as events: each end by itself, what ended before what began."""

from __future__ import annotations

from dataclasses import replace

from kns.agent.fault_events import fault_events
from kns.kinds.common import Object
from kns.kinds.faults import FaultEnd, Faults, Impairment, NetemFault, Partition

ONE, OTHER = FaultEnd("node1"), FaultEnd("node2")
LAB: Object = {"kind": "Lab", "metadata": {"name": "t"}}
FAULTS = Faults(
    links_down=(ONE, FaultEnd("web")),
    partitions=(Partition((ONE,), (OTHER,)),),
    netem=(NetemFault(ONE, None, Impairment(delay=50_000)),),
    no_conntrack_cleanup=True,
)


def told(before: Faults, after: Faults) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in fault_events(LAB, before, after)]


def test_each_that_begins_and_ends_is_told() -> None:
    began = [
        "link down: node1",
        "link down: web",
        "apart: node1 | node2",
        "netem node1 → any: delay 50ms",
        "no clean-up of conntrack",
    ]
    assert told(Faults(), FAULTS) == [("FaultBegan", line) for line in began]
    assert told(FAULTS, Faults()) == [("FaultEnded", line) for line in began]
    assert told(FAULTS, FAULTS) == []


def test_what_stays_is_not_told_again() -> None:
    after = replace(FAULTS, links_down=(OTHER, FaultEnd("web")))
    assert told(FAULTS, after) == [
        ("FaultEnded", "link down: node1"),
        ("FaultBegan", "link down: node2"),
    ]
