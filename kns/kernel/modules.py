"""Kernel modules: how to get what is missing."""

from __future__ import annotations

import os
from pathlib import Path


def modprobe(modules: str) -> str:
    """How to get these kernel modules: load them, or use a kernel that has them."""
    if not modules:
        return "a kernel with CONFIG_NET_NS"
    if (Path("/lib/modules") / os.uname().release).is_dir():
        return f"sudo modprobe -a {modules}"
    return f"this kernel has no modules; use one with {modules} (make vm starts Debian's)"
