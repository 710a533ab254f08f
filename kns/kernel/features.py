"""Whether the kernel has what is asked of it: tried out, for it says less than it can."""

from __future__ import annotations

from pathlib import Path

from kns.errors import PlatformError
from kns.kernel import processes
from kns.kernel.processes import Completed
from kns.state.requirements import Feature

#: loading a module for the first time takes its time on a busy or emulated machine
_SECONDS = 90.0
#: virtual and real servers of the calling thread's netns; /proc/net is the main thread's
IPVS_TABLE = Path("/proc/thread-self/net/ip_vs")


def tried(feature: Feature) -> Completed:
    """How the feature's trial went, in a netns of its own.

    PlatformError without its program, and if it does not end: that is not what is lacking.
    """
    argv = [processes.which(feature.argv[0]), *feature.argv[1:]]
    done = processes.run(["unshare", "--net", *argv], timeout=_SECONDS, input=feature.text)
    if done.timed_out:
        took = f"{feature.argv[0]} did not end within {_SECONDS:.0f} s"
        message = f"whether this kernel has {feature.name} can't be told: {took}"
        raise PlatformError(message, hint="the machine is busy, or the program hangs: try again")
    return done


def works(feature: Feature) -> bool:
    """True if the kernel does it; what can be loaded for it is loaded by that."""
    return tried(feature).returncode == 0


def has_ipvs_here() -> bool:
    """True if the kernel has IPVS by now, as a module or built in."""
    return IPVS_TABLE.exists()
