"""Why a network policy keeps a flow out, and which rule of the kernel does it. Pure."""

from __future__ import annotations

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile.networkpolicy.access import Access
from kns.compile.networkpolicy.table import policy_table
from kns.kinds.networkpolicy import PolicyType
from kns.promise.flow import Flow
from kns.promise.lookup import Lookup
from kns.promise.networkpolicy import Ruling
from kns.promise.promise import promise
from kns.state.model import Netns
from kns.state.packet import MetRule, Packet
from kns.state.walk import walk


def denying(lookup: Lookup, flow: Flow) -> Ruling | None:
    """What the policies say that keep the flow from its destination, or from one of several."""
    denied = promise(lookup, flow).denied if lookup.cluster.network_policies else ()
    return next((item.ruling for item in denied if item.ruling is not None), None)


def why_denied(lookup: Lookup, flow: Flow) -> str:
    """The policies with their lines, and the rule that drops the packet; nothing: it passes."""
    ruling = denying(lookup, flow)
    if ruling is None:
        return ""
    rule = dropping_rule(lookup.cluster, ruling)
    where = f"; dropped on {ruling.pod.node}"
    if rule is not None:
        where += f" by nft {rule.table} {rule.chain}: {rule.text}"
    return f"{ruling.reason}{where}"


def dropping_rule(cluster: Cluster, ruling: Ruling) -> MetRule | None:
    """The rule of the pod's node that the packet meets last, found by a walk through the table."""
    pod, remote = ruling.pod, ruling.remote.address
    own = pod.address(IPFamily.of(remote))
    table = policy_table(Access(cluster, cluster.pods_on(pod.node)), IPFamily.of(remote))
    if own is None or table is None:
        return None
    ends = (remote, own) if ruling.direction is PolicyType.INGRESS else (own, remote)
    port = ruling.port
    name = port.protocol.lower()
    if port.port is None:
        name = "icmp" if remote.version == 4 else "ipv6-icmp"
    packet = Packet(*ends, name, port.port or 0, in_interface="cni0", out_interface="cni0")
    passages = walk(Netns(pod.node, nftables=(table,)), packet)
    return next((item.decided_by for item in passages if item.decided_by is not None), None)
