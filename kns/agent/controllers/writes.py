"""What a controller wants: the writes to the store, events to be told, and when to be asked again.

An `UpdateObject` holds the whole object with the resourceVersion that was read. If another write
came first, the store refuses it, and the controller computes anew from what is there then.
"""

from __future__ import annotations

from dataclasses import dataclass

from kns.kinds.common import Object

NORMAL, WARNING = "Normal", "Warning"


@dataclass(frozen=True, slots=True)
class CreateObject:
    """Make this object."""

    object: Object


@dataclass(frozen=True, slots=True)
class UpdateObject:
    """Put this object in the place of the one of its name."""

    object: Object


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete this object; `now` does so without its grace period and its finalizers' leave."""

    object: Object
    now: bool = False


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Tell an event about an object, as client-go's recorder does.

    What goes on and on is told again after `every` seconds.
    """

    object: Object
    reason: str
    message: str
    component: str
    type: str = NORMAL
    every: float = 0.0


@dataclass(frozen=True, slots=True)
class Requeue:
    """Ask again at that time, in seconds since the epoch, though no object may have changed."""

    at: float


Write = CreateObject | UpdateObject | DeleteObject | RecordEvent | Requeue
