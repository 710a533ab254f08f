"""What is broken on purpose, or no longer is, as events of the lab. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kns.agent.controllers.writes import NORMAL, WARNING, RecordEvent
from kns.kinds.common import Object
from kns.kinds.fault_words import each_in_words
from kns.kinds.faults import Faults

COMPONENT = "kns"


def fault_events(lab: Object, before: Faults, after: Faults) -> Iterator[RecordEvent]:
    """What ended, then what began."""
    old, new = each_in_words(before), each_in_words(after)
    for line in old:
        if line not in new:
            yield RecordEvent(lab, "FaultEnded", line, COMPONENT, NORMAL)
    for line in new:
        if line not in old:
            yield RecordEvent(lab, "FaultBegan", line, COMPONENT, WARNING)
