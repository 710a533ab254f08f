"""The DNS of the lab's internet: a few names, so that a query's whole way works with no network.

The first internet host has a DNS server. The cluster's own servers and the nodes' resolv.conf
point to it, unless `networking.dns.upstream` names others.
"""

from __future__ import annotations

from collections.abc import Mapping

from kns.addresses import IPAddress
from kns.cluster.ingress import entrance, served
from kns.cluster.model import Cluster
from kns.cluster.records import (
    Rcode,
    Record,
    ZoneAnswer,
    address_of_reverse,
    address_record,
    address_type,
    is_below,
)

#: reserved by RFC 2606 for documentation, so that no lab hides a name that somebody needs
DOMAIN = "example.com."
TTL = 300
#: what the root answers for a name that does not exist: its SOA, cached for a day
ROOT_SOA = Record(
    ".", "SOA", 86400, "a.root-servers.net. nstld.verisign-grs.com. 1 1800 900 604800 86400"
)
DOMAIN_SOA = Record(DOMAIN, "SOA", TTL, f"ns.{DOMAIN} hostmaster.{DOMAIN} 1 7200 1800 86400 {TTL}")


def upstream_servers(cluster: Cluster) -> tuple[IPAddress, ...]:
    """Where names outside the cluster are asked for."""
    if cluster.network.dns.upstream:
        return cluster.network.dns.upstream
    return cluster.internet[0].addresses if cluster.internet else ()


def internet_names(cluster: Cluster) -> Mapping[str, tuple[IPAddress, ...]]:
    """Name to addresses: the domain and its www are the first host, and each host has its own.

    The hosts of Ingresses lead to their controller: somebody has entered them, as one would with a
    real domain. One of them may be a wildcard.
    """
    names = {f"{host.name}.{DOMAIN}".lower(): host.addresses for host in cluster.internet}
    if cluster.internet:
        first = cluster.internet[0].addresses
        names = {DOMAIN: first, f"www.{DOMAIN}": first, f"ns.{DOMAIN}": first, **names}
    doors = (entrance(cluster, family) for family in cluster.network.families)
    addresses = tuple(door.address for door in doors if door is not None)
    hosts = (rule.host for ingress in served(cluster) for rule in ingress.rules if rule.host)
    return {**names, **({f"{host}.": addresses for host in hosts} if addresses else {})}


class InternetZone:
    """Everything outside the cluster: knows `names` and their addresses, and nothing else."""

    def __init__(self, names: Mapping[str, tuple[IPAddress, ...]]) -> None:
        self._names = names
        self._reverse: dict[IPAddress, str] = {}
        for name, addresses in names.items():
            for address in addresses:
                if name != DOMAIN and not name.startswith("*."):
                    self._reverse.setdefault(address, name)

    def lookup(self, qname: str, qtype: str) -> ZoneAnswer:
        """Answer for the whole tree: this is the root and all below."""
        if qtype in {"AXFR", "IXFR"}:
            return ZoneAnswer(Rcode.REFUSED)
        pointer = self._pointer(qname)
        if pointer:
            found = (Record(qname, "PTR", TTL, pointer),) if qtype == "PTR" else ()
            return _positive(found, ROOT_SOA)
        soa = DOMAIN_SOA if is_below(qname, DOMAIN) else ROOT_SOA
        addresses = self._addresses(qname.lower())
        if addresses is None:
            if any(is_below(name, qname) for name in self._names):
                return ZoneAnswer(Rcode.NOERROR, authority=(soa,))
            return ZoneAnswer(Rcode.NXDOMAIN, authority=(soa,))
        if qtype == "SOA" and qname.lower() == DOMAIN:
            return ZoneAnswer(Rcode.NOERROR, (DOMAIN_SOA,))
        matching = (item for item in addresses if address_type(item) == qtype)
        return _positive(tuple(address_record(qname, item, TTL) for item in matching), soa)

    def _addresses(self, qname: str) -> tuple[IPAddress, ...] | None:
        """Those of the name, else of the wildcard at its closest ancestor (RFC 4592)."""
        found = self._names.get(qname)
        name = qname
        while found is None and "." in name.rstrip("."):
            if any(is_below(other, name) for other in self._names):
                return None
            _, _, name = name.partition(".")
            found = self._names.get(f"*.{name}")
        return found

    def _pointer(self, qname: str) -> str:
        address = address_of_reverse(qname)
        return self._reverse.get(address, "") if address is not None else ""


def _positive(records: tuple[Record, ...], soa: Record) -> ZoneAnswer:
    return ZoneAnswer(Rcode.NOERROR, records, () if records else (soa,))
