"""Labs without root: in a user namespace of one's own, root of which one is."""

from __future__ import annotations

import contextlib
import shlex

from kns.errors import PlatformError
from kns.kernel import processes

_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork")
#: kns keeps a lab's files and the names of its netns in /run; /proc must be that of the new pids
_PREPARE = "mount -t tmpfs run /run && mount -t proc proc /proc && exec sh"
#: gives a shell in which labs can be built; they go when it ends
COMMAND = f"{shlex.join(_UNSHARE)} sh -c '{_PREPARE}'"


def is_allowed() -> bool:
    """True if this process may make such namespaces, which machines can forbid."""
    with contextlib.suppress(PlatformError):
        return not processes.run([*_UNSHARE, "true"], timeout=processes.patience()).failure
    return False
