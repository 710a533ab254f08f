"""Files below /proc/sys/net of the calling thread's netns, read and held against a fresh netns'."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kns.state.model import Sysctl

FOLDER = Path("/proc/sys/net")
#: what moves by itself, is made at random, is another name of something else, or acts when written
_SKIPPED = (
    "netfilter/nf_conntrack_count",
    "ipv4/tcp_fastopen_key",
    "ipv4/conf/all/forwarding",
    "ipv4/route/flush",
    "ipv6/route/flush",
    "ipv6/conf/all/stable_secret",
    "ipv6/conf/default/stable_secret",
)
_MODE = 0o600
#: of a link: what follows its MTU, is made at random, is another name of something else
_NO_LINKS_OWN = frozenset(
    {"mtu", "stable_secret", "base_reachable_time", "retrans_time", "unres_qlen"}
)

#: What is read of netns that come by the thousand, where each file counts: all take 5 ms. With one
#: of these a netns is cut off, or answers for what is not its own; the links' own come with their
#: dump.
CHIEF = (
    *(
        f"ipv4/{name}"
        for name in (
            "icmp_echo_ignore_all",
            "ip_default_ttl",
            "ip_forward",
            "ip_local_port_range",
            "ip_local_reserved_ports",
            "ip_nonlocal_bind",
            "ipfrag_high_thresh",
            "conf/all/accept_local",
            "conf/all/arp_announce",
            "conf/all/arp_filter",
            "conf/all/arp_ignore",
            "conf/all/proxy_arp",
            "conf/all/route_localnet",
            "conf/all/rp_filter",
            "tcp_max_syn_backlog",
            "tcp_rmem",
            "tcp_wmem",
        )
    ),
    *(
        f"ipv6/{name}"
        for name in (
            "bindv6only",
            "icmp/echo_ignore_all",
            "ip6frag_high_thresh",
            "conf/all/disable_ipv6",
            "conf/all/forwarding",
        )
    ),
)


def every() -> tuple[str, ...]:
    """The keys of all that can be read and written, but for what belongs to single links."""
    return tuple(sorted(key for key in _walk(FOLDER) if key not in _SKIPPED))


def of_link(group: str, ifname: str) -> tuple[str, ...]:
    """The keys of a link's own, of a group such as `ipv4/conf` or `ipv6/neigh`.

    None for IPv6 on a link whose MTU is below 1,280: the kernel takes the folder away.
    """
    folder = FOLDER / group / ifname
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return tuple(f"{group}/{ifname}/{name}" for name in names if name not in _NO_LINKS_OWN)


def _walk(folder: Path) -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if not entry.is_dir():
            if entry.stat().st_mode & _MODE == _MODE:
                yield str(path.relative_to(FOLDER))
        elif folder.name not in {"conf", "neigh"} or entry.name in {"all", "default"}:
            yield from _walk(path)


def read(keys: Iterable[str]) -> dict[str, str]:
    """The values, white space as a tab each; a key that this kernel lacks is left out.

    Each of the folders `ipv4`, `ipv6` … is opened once: the kernel keeps those of all netns under
    one name in one hash chain, and walks it for each path that leads through them.
    """
    found = {}
    for family, of_family in itertools.groupby(keys, key=_family):
        with contextlib.suppress(OSError):
            folder = os.open(f"{FOLDER}/{family}", os.O_PATH | os.O_CLOEXEC)
            try:
                for key in of_family:
                    with contextlib.suppress(OSError):
                        found[key] = _read(key.removeprefix(f"{family}/"), folder)
            finally:
                os.close(folder)
    return found


def _family(key: str) -> str:
    return key.partition("/")[0]


def _read(path: str, folder: int) -> str:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        value = b""
        while part := os.read(file, 1 << 12):
            value += part
            if len(part) < 1 << 12:
                break
    finally:
        os.close(file)
    return "\t".join(value.decode().split())


def deviations(found: Mapping[str, str], usual: Mapping[str, str]) -> Iterator[Sysctl]:
    """The usual values of what differs."""
    for key, value in usual.items():
        if found.get(key, value) != value:
            yield Sysctl(key, value)
