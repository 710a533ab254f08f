"""kube-proxy's releases: in which of them it began to write something otherwise.

A difference is a row of `SINCE`; the code that writes the rules asks `has(…)` at the one place
where it shows. Where the structure of a table changes, `nftables_generation.py` has it whole.
What is proven is what the captured rules of a release prove. Backports are left aside: a row names
the first minor release whose .0 has the change.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from kns.kinds.networking import (
    EXTERNAL_IPS_GATE_SINCE,
    INTERFACES_BY_NAME_SINCE,
    NFACCT_SINCE,
)
from kns.kinds.nft_refusals import COMMENTS_CUT_SINCE
from kns.kinds.release import Release


class ReleaseChange(StrEnum):
    """What a release of kube-proxy writes otherwise than those before it."""

    FIREWALL_ELEMENTS_WITHOUT_COMMENT = "nftables: the elements of firewall-ips have no comment"
    NODE_PORTS_WITHOUT_ADDRESS = (
        "nftables: in a family without an address of the node, or without a CIDR of"
        " --nodeport-addresses, node ports answer on every local address"
    )
    HINTS_WITHOUT_ANNOTATION = "zone hints count without an annotation of the Service"
    CANONICAL_ADDRESSES = "endpoints' addresses are made canonical, not taken as they are written"
    NFACCT = "iptables: packets are counted by nfacct objects"
    INTERFACES_BY_NAME = "nftables: iifname, which may be a prefix, in place of iif"
    SERVICE_CIDRS = "nftables: what goes to an unallocated address of a ServiceCIDR is dropped"
    NO_EMPTY_CLUSTER_CIDR = "an empty --cluster-cidr is refused, not taken for none"
    ONE_MASQUERADE_ALL = "--masquerade-all sets the option of every mode, of nftables too"
    UDP_RECONCILED = "conntrack entries of UDP are compared with the endpoints, not found by events"
    PARTIAL_SYNC = "nftables: a sync writes the chains of the Services that have changed, not all"
    NODE_HINTS = "hints for nodes count, before those for zones"
    ANY_SOURCE = "0.0.0.0/0 among the source ranges is like no source ranges"
    LIVING_ENDPOINTS_FIRST = "of an address in two slices the one that isn't terminating counts"
    EXTERNAL_IPS_GATE = "the feature gate AllowServiceExternalIPs"
    COMMENTS_CUT = "nftables: comments are cut at 128 bytes; before, nft refuses all of the table"
    UDP_WITHOUT_ENDPOINTS = "conntrack entries of a UDP service without endpoints are deleted too"


def has(release: Release, change: ReleaseChange) -> bool:
    """True if kube-proxy of this release writes so."""
    return release >= SINCE[change]


def deletes_stale_udp(release: Release) -> bool:
    """True if the conntrack entries of a UDP service's clients go with its last endpoint.

    From 1.32 to 1.36 kube-proxy looks at services with a serving endpoint only, and a client that
    goes on sending keeps its old entry alive (CleanStaleEntries in pkg/proxy/conntrack/cleanup.go;
    kubernetes issue 139628).
    """
    by_events = deletes_udp_of_deleted(release)
    return by_events or has(release, ReleaseChange.UDP_WITHOUT_ENDPOINTS)


def deletes_udp_of_deleted(release: Release) -> bool:
    """True if the conntrack entries of a deleted UDP service's cluster IPs are deleted.

    Only the releases that went by events heard of it; since then a deleted service is none that is
    looked at, up to and with 1.37 (kubernetes pull request 141371).
    """
    return not has(release, ReleaseChange.UDP_RECONCILED)


#: in the order of the releases
SINCE: Final[Mapping[ReleaseChange, Release]] = {
    ReleaseChange.FIREWALL_ELEMENTS_WITHOUT_COMMENT: Release.V1_31,
    ReleaseChange.NODE_PORTS_WITHOUT_ADDRESS: Release.V1_31,
    ReleaseChange.HINTS_WITHOUT_ANNOTATION: Release.V1_31,
    ReleaseChange.CANONICAL_ADDRESSES: Release.V1_31,
    ReleaseChange.NFACCT: NFACCT_SINCE,
    ReleaseChange.NO_EMPTY_CLUSTER_CIDR: Release.V1_32,
    ReleaseChange.ONE_MASQUERADE_ALL: Release.V1_32,
    ReleaseChange.UDP_RECONCILED: Release.V1_32,
    ReleaseChange.INTERFACES_BY_NAME: INTERFACES_BY_NAME_SINCE,
    ReleaseChange.SERVICE_CIDRS: Release.V1_33,
    ReleaseChange.PARTIAL_SYNC: Release.V1_33,
    ReleaseChange.NODE_HINTS: Release.V1_34,
    ReleaseChange.ANY_SOURCE: Release.V1_34,
    ReleaseChange.LIVING_ENDPOINTS_FIRST: Release.V1_36,
    ReleaseChange.EXTERNAL_IPS_GATE: EXTERNAL_IPS_GATE_SINCE,
    ReleaseChange.COMMENTS_CUT: COMMENTS_CUT_SINCE,
    ReleaseChange.UDP_WITHOUT_ENDPOINTS: Release.V1_37,
}
