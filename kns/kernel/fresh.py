"""What a netns of this kernel holds from the start: the measure of what somebody has changed.

Releases and builds of Linux differ in it, so it is read, once a process, from a netns of its own
that nobody else sees and that goes with the thread that made it.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass

from kns.kernel import link_dumps, netns, policy_rules, syscalls
from kns.kernel.netlink import Socket


@dataclass(frozen=True, slots=True)
class Fresh:
    """A fresh netns: its routing rules, and the links that it has besides `lo`."""

    rules: tuple[policy_rules.Body, ...]
    links: frozenset[str]


@functools.cache
def fresh() -> Fresh:
    """What a fresh netns holds."""
    return netns.in_thread(_read)


def _read() -> Fresh:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    with contextlib.closing(Socket()) as sock:
        names = {item.link.name for item in link_dumps.read(sock)}
        return Fresh(policy_rules.bodies(sock), frozenset(names - {"lo"}))
