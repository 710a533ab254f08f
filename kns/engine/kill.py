"""Signals to the containers of a running lab, by its agent, which starts them again."""

from __future__ import annotations

from signal import Signals

from kns.engine import agent
from kns.engine.orders import Kill, Killed, Refused
from kns.errors import UsageError
from kns.kinds.pod import Pod


def kill(lab: str, pod: Pod, container: str, number: Signals) -> None:
    """Send the container, or all of the pod, the signal.

    Raises UsageError if there is no such container, ApplyError without an agent that answers.
    """
    order = Kill(pod.namespace, pod.name, container, number)
    answer = agent.order(lab, order, Killed)
    if isinstance(answer, Refused):
        raise UsageError(answer.error, hint=answer.hint)
