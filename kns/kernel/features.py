"""Whether the kernel has what is asked of it: tried out, for it says less than it can."""

from __future__ import annotations

from kns.kernel import processes
from kns.kernel.processes import Completed
from kns.state.requirements import Feature

_SECONDS = 20.0


def tried(feature: Feature) -> Completed:
    """How the feature's trial went, in a netns of its own. PlatformError without its program."""
    argv = [processes.which(feature.argv[0]), *feature.argv[1:]]
    return processes.run(["unshare", "--net", *argv], timeout=_SECONDS, input=feature.text)


def works(feature: Feature) -> bool:
    """True if the kernel does it; what can be loaded for it is loaded by that."""
    return tried(feature).returncode == 0
