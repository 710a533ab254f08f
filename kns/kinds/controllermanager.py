"""What of kube-controller-manager's configuration a lab can change.

Source: KubeControllerManagerConfiguration, nodeLifecycleController; its default of 50 s is that of
1.32, which it was 40 s before.
"""

from __future__ import annotations

from dataclasses import dataclass

from kns.kinds.faults import duration
from kns.labfile.reader import Parsed
from kns.labfile.shape import Field, Shape

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class ControllerManagerOptions:
    """Seconds after which a node that nobody hears of is NotReady."""

    node_monitor_grace_period: float = 50.0


_DURATION = Parsed(
    lambda value: duration(value) / _MICROSECONDS, {"type": "string", "examples": ["5s"]}
)
SHAPE = Shape(
    ControllerManagerOptions,
    Field("nodeMonitorGracePeriod", _DURATION, default="50s"),
    title="ControllerManager",
    doc="kube-controller-manager's options. `nodeMonitorGracePeriod`: how long nothing may be "
    "heard of a node, as of one whose cable is pulled, until it is NotReady; up to 60s.",
)
