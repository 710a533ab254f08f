"""A change of a running lab by its API: wait until it is so, and tell what it has led to.

begin ─▶ requests ─▶ finish: nothing is on its way any more ─▶ the cluster before and after
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kns.engine.api_client import connect
from kns.engine.cluster_changes import ClusterChanges, cluster_changes
from kns.engine.labs import running
from kns.kinds.objects import Ref

#: seconds between two looks: at first, and at last
_SOON, _LATE = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """What a change has led to, and what it still waits for where the time was up."""

    changes: ClusterChanges
    waits: tuple[str, ...] = ()


class LiveChange:
    """A change of the lab that is meant. UsageError if there is none, ApplyError without an API."""

    def __init__(self, lab: str | None) -> None:
        found = running(lab)
        self.lab = found.name
        self.client = connect(found)
        self._pending_before = self.client.pending()
        self._before = found.cluster

    def finish(self, changed: Collection[Ref], timeout: float) -> ChangeOutcome:
        """Wait until what was changed is so, and all that follows from it.

        What was on its way already is not waited for, unless it is among the `changed`. With a
        timeout of 0 nothing is.
        """
        waits = self._wait(changed, timeout) if timeout else {}
        self.client.settle()
        changes = cluster_changes(self._before, running(self.lab).cluster)
        return ChangeOutcome(changes, tuple(waits.values()))

    def _wait(self, changed: Collection[Ref], timeout: float) -> Mapping[Ref, str]:
        deadline = time.monotonic() + timeout
        pause = _SOON
        earlier = self._pending_before.keys() - set(changed)
        while True:
            found = self.client.pending()
            waits = {ref: text_ for ref, text_ in found.items() if ref not in earlier}
            if not waits or time.monotonic() > deadline:
                return waits
            # what has become so in the meantime may be undone again by this change
            earlier &= found.keys()
            time.sleep(pause)
            pause = min(pause * 1.5, _LATE)
