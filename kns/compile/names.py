"""Names in the kernel: of netns, links and MAC addresses. Deterministic, and readable.

    kns.LAB.fabric   kns.LAB.NODE   kns.LAB.POD (default)   kns.LAB.NAMESPACE.POD   kns.LAB.HOST

Lab names have no dot, so the second field always tells whose a netns is. A pod outside `default`
has its namespace before its name; a pod's name may hold dots, which could make two of these equal:
`kns.cluster.resolve` refuses such a pair.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from kns.kinds.pod import Pod

#: the hashes of so many keys are kept: those of the largest labs, which are compiled at each change
_KNOWN_KEYS = 1 << 15
#: every netns of every lab starts so
PREFIX = "kns."


def lab_prefix(lab: str) -> str:
    """What the names of a lab's netns start with."""
    return f"{PREFIX}{lab}."


def fabric_netns(lab: str) -> str:
    """The netns of the physical world."""
    return f"{PREFIX}{lab}.fabric"


def netns_of_node(lab: str, node: str) -> str:
    """The netns of a node."""
    return f"{PREFIX}{lab}.{node}"


def netns_of_internet(lab: str, host: str) -> str:
    """The netns of a host outside the cluster."""
    return f"{PREFIX}{lab}.{host}"


def netns_of_pod(lab: str, namespace: str, pod: str) -> str:
    """The netns of a pod, shared by its containers.

    Also what the folder of its files is called, in the host network too.
    """
    if namespace == "default":
        return f"{PREFIX}{lab}.{pod}"
    return f"{PREFIX}{lab}.{namespace}.{pod}"


def netns_with(lab: str, pod: Pod) -> str:
    """The netns in which the pod's containers run: its own, or its node's (hostNetwork)."""
    if pod.host_network:
        return netns_of_node(lab, pod.node)
    return netns_of_pod(lab, pod.namespace, pod.name)


def etc_with(lab: str, pod: Pod) -> str:
    """The folder of the pod's files, where it isn't called as the netns."""
    return netns_of_pod(lab, pod.namespace, pod.name) if pod.host_network else ""


@lru_cache(_KNOWN_KEYS)
def ifname(prefix: str, key: str) -> str:
    """`prefix` and eight hex digits of a hash of `key`, as CNI's bridge plugin names its veths."""
    return f"{prefix}{hashlib.sha256(key.encode()).hexdigest()[:8]}"


@lru_cache(_KNOWN_KEYS)
def mac(key: str) -> str:
    """A locally administered unicast MAC address made of a hash of `key`."""
    digest = hashlib.sha256(key.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in ((digest[0] & 0xFC) | 0x02, *digest[1:6]))
