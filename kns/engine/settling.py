"""Before a running lab is looked at: what was written is to be so, what is coming to be there.

The agent is asked by an order, not by its API (`/readyz/settled`, as `LiveChange` does): speaking
with the API starts an agent that isn't running and has the lab live, and who only looks at a lab
leaves it as it is. Its `/readyz/pending` also tells of pods that may never be ready; the order's
answer has only what time alone is about to change.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from kns.compile.paths import LabPaths
from kns.engine.labs import RunningLab, choose_lab, running
from kns.errors import ApplyError

#: seconds for an agent to carry out what was written; whoever waits longer looks at what there is
PATIENCE = 20.0
#: seconds between two looks
_PAUSE = 0.1
#: seconds after which what was written into a lab is so, or hangs
_LATELY = 5.0


def settle(lab: str) -> tuple[str, ...]:
    """Wait until what was written is so in the kernel; what is on its way even then, a line each.

    A lab without an agent, or with one that doesn't answer, stays as it is.
    """
    # takes a fifth of the time of a probe, which needs it after a change alone
    from kns.engine import agent  # noqa: PLC0415
    from kns.engine.orders import Settle, Settled  # noqa: PLC0415

    if not agent.is_running(lab):
        return ()
    try:
        answer = agent.order(lab, Settle(), Settled, patience=PATIENCE)
    except ApplyError:
        return ()
    return answer.waits if isinstance(answer, Settled) else ()


def await_pods(lab: str, timeout: float, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Wait likewise, and for pods that are about to be ready or gone; those that still are then.

    With a timeout of 0 it does not wait for pods, and returns none; a negative one is over already.
    `tell` gets what is waited for, whenever that is another pod.
    """
    deadline = time.monotonic() + timeout
    told = ""
    while (waits := settle(lab)) and timeout:
        if time.monotonic() >= deadline:
            return waits
        if waits[0] != told:
            told = waits[0]
            tell(told)
        time.sleep(_PAUSE)
    return ()


def running_settled(lab: str | None) -> RunningLab:
    """The lab that is meant, with its cluster, once what was written into it is so in the kernel.

    What a command, or kubectl, has changed a moment ago is to be there for who probes it now.
    """
    name = choose_lab(lab)
    if _was_written_lately(LabPaths(name)):
        settle(name)
    return running(name)


def _was_written_lately(paths: LabPaths) -> bool:
    """By the journal of its objects, to which each change is added."""
    try:
        return time.time() - paths.objects.stat().st_mtime < _LATELY
    except OSError:
        return False
