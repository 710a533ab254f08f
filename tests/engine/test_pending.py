"""What of the pods time alone is about to change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kns.engine.pending import coming
from kns.kinds.common import Object

#: when a pod of these tests was made, and its container began
MADE = "2026-01-02T03:04:05Z"
BEGUN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
NOT_READY = ("pod/web-1: it is not ready",)
RUNNING: Object = {"running": {"startedAt": MADE}}


def pod(probes: Object, state: Object, **fields: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "creationTimestamp": MADE, **fields.get("metadata", {})},
        "spec": {"nodeName": "node1", "containers": [{"name": "c", **probes}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "c", **state}]},
    }


def ready_after(seconds: int) -> Object:
    return {"readinessProbe": {"initialDelaySeconds": seconds, "timeoutSeconds": 1}}


@pytest.mark.parametrize(
    ("item", "at", "expected"),
    [
        # the first probe is due after ten seconds; nobody waits for one that has failed since
        (pod(ready_after(10), {"state": RUNNING, "started": True}), 9, NOT_READY),
        (pod(ready_after(10), {"state": RUNNING, "started": True}), 60, ()),
        (pod(ready_after(10), {"state": RUNNING, "started": True, "ready": True}), 9, ()),
        # readiness is asked for once the startup probe has passed
        (
            pod(
                {"startupProbe": {"periodSeconds": 5, "failureThreshold": 4}, **ready_after(0)},
                {"state": RUNNING, "started": False},
            ),
            18,
            NOT_READY,
        ),
        (
            pod(
                {"startupProbe": {"periodSeconds": 5, "failureThreshold": 4}, **ready_after(0)},
                {"state": RUNNING, "started": True},
            ),
            18,
            (),
        ),
        (
            pod(
                {"readinessProbe": {"successThreshold": 3, "periodSeconds": 4}}, {"state": RUNNING}
            ),
            8,
            NOT_READY,
        ),
        # a container that is made, and one whose back-off grows
        (pod({}, {"state": {"waiting": {"reason": "ContainerCreating"}}}), 1, NOT_READY),
        (pod({}, {"state": {"waiting": {}}, "restartCount": 3}), 1, ()),
        (
            pod({}, {"ready": True}, metadata={"deletionTimestamp": "2026-01-02T03:04:35Z"}),
            29,
            ("pod/web-1: it has not ended yet",),
        ),
        (pod({}, {"ready": True}, metadata={"deletionTimestamp": MADE}), 60, ()),
    ],
)
def test_what_is_waited_for(item: Object, at: int, expected: tuple[str, ...]) -> None:
    assert coming([item], BEGUN + at) == expected


def test_nobody_waits_for_what_fits_no_node_or_has_ended() -> None:
    unplaced, ended = pod({}, {}), pod({}, {})
    unplaced["spec"] = {"containers": [{"name": "c"}]}
    ended["status"] = {"phase": "Succeeded"}
    assert coming([unplaced, ended], BEGUN) == ()
