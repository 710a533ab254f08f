"""Where the API's streams of a pod go: its netns, its containers, what they have said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kns.kernel.processes import Context
from kns.kinds.common import Object
from kns.kinds.objects import mapping, mappings, text


@dataclass(frozen=True, slots=True)
class ContainerPlace:
    """A container of a pod that runs here."""

    #: `namespace/pod`
    name: str
    container: str
    netns: str
    addresses: tuple[str, ...]
    #: where a program runs in it
    context: Context
    #: what its process has said; None for a built-in server
    log: Path | None = None
    #: whether the container still runs, not started anew since
    runs: Callable[[], bool] = lambda: True


#: finds the container of a pod by namespace, pod and container, which is empty for the first;
#: StatusError if it is not there or does not run
FindPlace = Callable[[str, str, str], ContainerPlace]


def is_running(was: Object, now: Object | None, container: str) -> bool:
    """Whether a container that there was has not ended since; `now`: the pod's object, if any.

    One of which nothing is said yet is taken to run.
    """
    if now is None or text(now, "metadata", "uid") != text(was, "metadata", "uid"):
        return False
    status = _status(now, container)
    if status.get("restartCount", 0) != _status(was, container).get("restartCount", 0):
        return False
    return not mapping(status, "state", "terminated") and (
        text(status, "state", "waiting", "reason") != "CrashLoopBackOff"
    )


def _status(pod: Object, container: str) -> Object:
    found = mappings(pod, "status", "containerStatuses")
    return next((item for item in found if item.get("name") == container), {})
