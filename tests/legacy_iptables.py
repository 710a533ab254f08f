"""The legacy variant of iptables in place of the nft one, for tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

_PROGRAM = Path("/usr/sbin/xtables-legacy-multi")


def legacy_path(folder: Path) -> str:
    """A PATH that begins with the folder, in which iptables' programs are the legacy ones.

    Skips the test where there are none, or where the kernel has no such tables.
    """
    for name in (
        f"{f}{end}" for f in ("iptables", "ip6tables") for end in ("", "-save", "-restore")
    ):
        (folder / name).symlink_to(_PROGRAM)
    argv = ["unshare", "-n", str(folder / "iptables"), "-t", "nat", "-L"]
    if not _PROGRAM.exists() or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("no legacy iptables on this machine, or not in its kernel")
    return f"{folder}:{os.environ['PATH']}"
