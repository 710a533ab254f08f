"""What chains are for, in short plain sentences: hooks by what the kernel calls them with, others
by the names that kube-proxy and the pod network give them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kns.state.packet import Hook

_TRANSLATING = {
    Hook.PREROUTING: "the first packet of a connection from a pod, a node or outside",
    Hook.INPUT: "the first packet of a connection to the node itself",
    Hook.OUTPUT: "the first packet of a connection that the node itself opens",
    Hook.POSTROUTING: "the first packet of a connection, as it leaves",
}
_FILTERING = {
    Hook.PREROUTING: "what arrives, before translation",
    Hook.INPUT: "packets to the node itself, after translation",
    Hook.FORWARD: "packets that the node passes on, after translation",
    Hook.OUTPUT: "packets of the node itself, after translation",
    Hook.POSTROUTING: "packets that leave",
}
#: linux/netfilter_ipv4.h NF_IP_PRI_NAT_DST
_NAT_DST = -100


def hook_purpose(hook: Hook, priority: int, *, translates: bool) -> str:
    """Which packets a base chain is met by."""
    if translates:
        return _TRANSLATING.get(hook, "")
    if hook is Hook.OUTPUT and priority < _NAT_DST:
        return "packets of the node itself, before translation"
    return _FILTERING[hook]


_PURPOSES = {
    # iptables
    "KUBE-SERVICES": "finds the service by address, protocol and port",
    "KUBE-NODEPORTS": "finds the service by its node port",
    "KUBE-MARK-MASQ": "marks the packet, so that POSTROUTING gives it the node's address",
    "KUBE-POSTROUTING": "gives marked packets the node's address, so that the answer comes back",
    "KUBE-FORWARD": "drops what conntrack can't place, accepts marked and known connections",
    "KUBE-FIREWALL": "keeps others from reaching 127.0.0.0/8, which route_localnet opens",
    "KUBE-PROXY-FIREWALL": "drops what a balancer's source ranges did not let through",
    "KUBE-EXTERNAL-SERVICES": "refuses or drops what no endpoint can take, from outside",
    "KUBE-KUBELET-CANARY": "tells kubelet by its absence that rules were flushed",
    "KUBE-PROXY-CANARY": "tells kube-proxy by its absence that rules were flushed",
    "FLANNEL-POSTRTG": "gives pods the node's address on their way out of the cluster",
    "CNI-HOSTPORT-DNAT": "finds the pod that has the host port",
    "CNI-HOSTPORT-SETMARK": "marks who must be masqueraded: the node's own pods, localhost",
    "CNI-HOSTPORT-MASQ": "gives marked packets the address of the bridge",
    "FLANNEL-FWD": "accepts what pods send and receive",
    # IPVS
    "virtual servers": "IPVS takes a real server for each connection, at OUTPUT as well",
    # nftables
    "firewall-check": "drops what a balancer's source ranges do not let in",
    "nodeport-endpoints-check": "refuses or drops what no endpoint can take, at node ports",
    "service-endpoints-check": "refuses or drops what no endpoint can take",
    "cluster-ips-check": "refuses ports, and drops addresses, that no service has",
    "reject-chain": "refuses at once",
    "services": "finds the service by address, protocol and port",
    "masquerading": "gives packets the node's address, so that the answer comes back",
    "mark-for-masquerade": "marks the packet, so that it gets the node's address",
}
_FILTER_PURPOSES = {
    "KUBE-SERVICES": "refuses or drops what no endpoint can take",
    "KUBE-NODEPORTS": "lets a balancer's health checks in",
}
_PREFIXES = {
    "service": "takes one of all endpoints by chance (policy Cluster)",
    "local": "takes one of this node's own endpoints by chance (policy Local)",
    "external": "from outside: masquerades, or keeps the client's address (policy Local)",
    "firewall": "drops what comes from none of the balancer's source ranges",
}
_TARGET = re.compile(r"-[jg] (KUBE-(?:SEP|SVL)-\S+)")
_COMMENT = re.compile(r'--comment "([^"]*)"')


def purpose(table: str, chain: str, rules: Iterable[str]) -> str:
    """What a chain with these rules is for; nothing of one that is nobody's we know."""
    texts = tuple(rules)
    match chain.split("-")[:2]:
        case ["KUBE", "SVC"]:
            return f"{_choice(texts)}, of all endpoints (policy Cluster)"
        case ["KUBE", "SVL"]:
            return f"{_choice(texts)}, of this node's own endpoints (policy Local)"
        case ["KUBE", "EXT"]:
            return _external(texts)
        case ["KUBE", "FW"]:
            return "lets the balancer's source ranges in; others fall through, to be dropped"
        case ["KUBE", "SEP"]:
            return _endpoint(texts)
        case ["CNI", "DN"]:
            return "leads the pod's host ports to it"
        case ["endpoint", _]:
            return _nft_endpoint(texts)
        case [prefix, *_]:
            own = _FILTER_PURPOSES if table == "filter" else {}
            return own.get(chain) or _PURPOSES.get(chain) or _PREFIXES.get(prefix, "")
        case _:
            return ""


def _choice(rules: tuple[str, ...]) -> str:
    targets = {found[1] for rule in rules if (found := _TARGET.search(rule))}
    count = sum(target.startswith("KUBE-SEP-") for target in targets)
    text = "takes the only endpoint" if count == 1 else f"takes one of {count} endpoints by chance"
    if any("-m recent" in rule for rule in rules):
        return f"{text}, the same again for a client it remembers"
    return text


def _external(rules: tuple[str, ...]) -> str:
    comments = [found[1] for rule in rules if (found := _COMMENT.search(rule))]
    if any("masquerade traffic for" in comment for comment in comments):
        return "from outside: masquerades, as the endpoint may be on any node"
    kept = "from outside: keeps the client's address and stays on this node"
    if any("-j KUBE-SVL-" in rule for rule in rules):
        return kept
    return f"{kept}, which has no endpoint: what is left is dropped"


def _endpoint(rules: tuple[str, ...]) -> str:
    for rule in rules:
        _, found, destination = rule.partition("--to-destination ")
        if found:
            return f"endpoint {destination}; a pod that reaches itself is masqueraded"
    return "an endpoint"


def _nft_endpoint(rules: tuple[str, ...]) -> str:
    """From 1.34 on what reaches itself is masqueraded as it leaves, by a set of such pairs."""
    if any("jump mark-for-masquerade" in rule for rule in rules):
        return "the endpoint; a pod that reaches itself is masqueraded"
    if any(rule.startswith("update @affinity-") for rule in rules):
        return "the endpoint; the client is remembered"
    return "the endpoint"
