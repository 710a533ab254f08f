"""The cluster's DNS zone: what CoreDNS' kubernetes plugin answers, computed from the Cluster.

    qname ── zone it belongs to ── labels left of the zone ── what they ask for
        [_port._proto.]service.namespace.svc.<zone>     a service, or one of its ports
        endpoint.service.namespace.svc.<zone>           one endpoint
        a-b-c-d.namespace.pod.<zone>                    a pod by its address
        d.c.b.a.in-addr.arpa., ….ip6.arpa.              an address
        dns-version.<zone>, ns.dns.<zone>               the zone itself

An existing name that lacks the type asked for is NODATA (NOERROR with the SOA in authority), any
other is NXDOMAIN. Source: CoreDNS plugin/kubernetes {handler,kubernetes,parse,reverse,ns}.go and
plugin/backend_lookup.go, the version whose own tests are the vectors of this project.
"""

from __future__ import annotations

from dataclasses import dataclass

from kns.addresses import IPAddress, is_address
from kns.cluster.model import Cluster
from kns.cluster.records import (
    SCHEMA_TTL,
    SCHEMA_VERSION,
    Rcode,
    Record,
    ZoneAnswer,
    absolute,
    address_of_reverse,
    address_record,
    address_type,
    endpoint_label,
    is_below,
    is_reverse,
    soa_record,
    undashed,
)
from kns.cluster.zone_index import ZoneIndex, ZoneOptions, service_key
from kns.kinds.endpointslice import EndpointPort
from kns.kinds.service import Service, ServiceType

#: plugin/kubernetes: a sentinel port of endpoints with no ports; it makes no SRV record
NO_PORT = -1
#: plugin/backend_lookup.go: longer chains of CNAMEs are cut
CNAME_CHAIN_MAX = 7


class _NoSuchNameError(Exception):
    """NXDOMAIN; raised inside a lookup only."""


@dataclass(frozen=True, slots=True)
class _Host:
    """An address (or an ExternalName) under a name: what plugin/etcd/msg calls a Service.

    `key` is the part of its own name left of the zone, `host` an address or a domain name.
    """

    key: str
    host: IPAddress | str
    port: int = NO_PORT


@dataclass(frozen=True, slots=True)
class _Request:
    """The labels of a question, sorted out; an empty field was not given."""

    kind: str = ""
    namespace: str = ""
    service: str = ""
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


class ClusterZone:
    """Answers for the cluster domain and its reverse zones. Indexes are made at first use."""

    def __init__(self, cluster: Cluster, options: ZoneOptions | None = None) -> None:
        self.cluster = cluster
        self.options = ZoneOptions.of(cluster) if options is None else options
        self._index = ZoneIndex(cluster, self.options.namespaces)
        self._domain = absolute(self.options.domain).lower()
        zones = {self._domain, *(absolute(zone).lower() for zone in self.options.reverse_zones)}
        self._zones = tuple(sorted(zones, key=len, reverse=True))

    def lookup(self, qname: str, qtype: str) -> ZoneAnswer | None:
        """Answer as CoreDNS does; None for a name outside the zones, or one that falls through."""
        matched = self._matching_zone(qname)
        if matched is None:
            return None
        if qtype in {"AXFR", "IXFR"}:
            return ZoneAnswer(Rcode.REFUSED)
        zone = qname[len(qname) - len(matched) :]  # the client's own upper and lower case
        soa = soa_record(zone, self.options.ttl, self.options.serial)
        try:
            answer = self._answer(qname, qtype, zone)
        except _NoSuchNameError:
            if self._falls_through(qname):
                return None
            rcode = Rcode.NXDOMAIN if self.options.synced else Rcode.SERVFAIL
            return ZoneAnswer(rcode, authority=(soa,))
        if not answer.answer:
            return ZoneAnswer(Rcode.NOERROR, authority=(soa,))
        return answer

    # -- which records -----------------------------------------------------------------------------

    def _answer(self, qname: str, qtype: str, zone: str) -> ZoneAnswer:
        records: list[Record]
        match qtype:
            case "A" | "AAAA":
                records, pending = self._addresses(qname, qtype, zone, ())
                return ZoneAnswer(Rcode.NOERROR, tuple(records), pending=pending)
            case "SRV":
                return self._srv(qname, zone)
            case "NS" if qname == zone:
                return self._ns(zone)
            case "SOA" if qname == zone:
                records = [soa_record(zone, self.options.ttl, self.options.serial)]
            case "PTR":
                records = self._ptr(qname, zone)
            case "CNAME":
                records = self._cname(qname, zone)
            case "TXT":
                records = self._txt(qname, zone)
            case _:
                self._hosts(qname, zone)  # only to learn whether the name exists
                records = []
        return ZoneAnswer(Rcode.NOERROR, tuple(records))

    def _addresses(
        self, qname: str, qtype: str, zone: str, chain: tuple[Record, ...]
    ) -> tuple[list[Record], str]:
        """A or AAAA records and the CNAMEs that lead to them; then the name still to look up."""
        ttl = self.options.ttl
        records: dict[Record, None] = {}
        for item in self._hosts(qname, zone):
            if not isinstance(item.host, str):
                if address_type(item.host) == qtype:
                    records[address_record(qname, item.host, ttl)] = None
                continue
            target = absolute(item.host)
            alias = Record(qname, "CNAME", ttl, target)
            loops = target.lower() == qname.lower() or target in {link.data for link in chain}
            if loops or len(chain) > CNAME_CHAIN_MAX:
                continue
            if not is_below(target, zone):
                return [*records, alias], target
            try:
                found, pending = self._addresses(target, qtype, zone, (*chain, alias))
            except _NoSuchNameError:
                continue
            if found:
                return [*records, alias, *found], pending
        return list(records), ""

    def _srv(self, qname: str, zone: str) -> ZoneAnswer:
        """SRV records with the addresses of their targets in additional.

        Every record has priority 0; the weights share 100 among the records before those with the
        same target are merged, so that four of six endpoints may carry 16 each.
        """
        hosts = [item for item in self._hosts(qname, zone) if not isinstance(item.host, str)]
        weight = max(1, 100 // len(hosts)) if hosts else 0
        records: dict[Record, None] = {}
        extra: dict[Record, None] = {}
        for item in hosts:
            if item.port == NO_PORT or isinstance(item.host, str):
                continue
            target = f"{item.key}.{zone}"
            data = f"0 {weight} {item.port} {target}"
            records[Record(qname, "SRV", self.options.ttl, data)] = None
            extra[address_record(target, item.host, self.options.ttl)] = None
        return ZoneAnswer(Rcode.NOERROR, tuple(records), additional=tuple(extra))

    def _ptr(self, qname: str, zone: str) -> list[Record]:
        address = address_of_reverse(qname)
        if address is None:
            self._hosts(qname, zone)
            return []
        names = self._index.names_of(address)
        if not names:
            raise _NoSuchNameError
        ttl = self.options.ttl
        return [Record(qname, "PTR", ttl, f"{name}.{self._domain}") for name in names]

    def _cname(self, qname: str, zone: str) -> list[Record]:
        found = self._hosts(qname, zone)
        if found and isinstance(found[0].host, str):
            return [Record(qname, "CNAME", self.options.ttl, absolute(found[0].host))]
        return []

    def _txt(self, qname: str, zone: str) -> list[Record]:
        base = _labels_left_of(qname, zone)
        if base == ["dns-version"]:
            return [Record(qname, "TXT", SCHEMA_TTL, f'"{SCHEMA_VERSION}"')]
        # unlike for other types CoreDNS has no NODATA here for the names between service and zone
        if base == ["ns", "dns"] or not self._hosts(qname, zone):
            raise _NoSuchNameError
        return []

    def _ns(self, zone: str) -> ZoneAnswer:
        owners = self._name_servers(zone)
        ttl = self.options.ttl
        records = dict.fromkeys(Record(zone, "NS", ttl, name) for name, _ in owners)
        extra = (address_record(name, address, ttl) for name, address in owners)
        return ZoneAnswer(Rcode.NOERROR, tuple(records), additional=tuple(extra))

    def _name_servers(self, zone: str) -> list[tuple[str, IPAddress]]:
        """Name and address of the DNS Service; ns.dns.<zone> if the lab has no such Service."""
        addresses = self.cluster.network.dns.service_ips
        name = "ns.dns"
        for service in self.cluster.services:
            if addresses and set(addresses) & set(service.cluster_ips):
                name = f"{service.name}.{service.namespace}.svc"
                break
        return [(f"{name}.{zone}", address) for address in addresses]

    # -- what a name stands for --------------------------------------------------------------------

    def _hosts(self, qname: str, zone: str) -> list[_Host]:
        """What the name stands for; empty for a name with nothing of its own (svc.<zone>)."""
        if _labels_left_of(qname, zone) == ["ns", "dns"]:
            return [_Host("ns.dns", address) for address in self.cluster.network.dns.service_ips]
        request = _parse(_labels_left_of(qname, zone))
        if not request.kind:
            return []
        if is_reverse(qname):
            raise _NoSuchNameError
        if request.namespace and request.namespace not in self._index.namespaces:
            raise _NoSuchNameError
        if request.kind == "pod":
            return self._pods(request)
        return self._services(request)

    def _pods(self, request: _Request) -> list[_Host]:
        if self.options.pods == "disabled":
            raise _NoSuchNameError
        if not request.service:
            return []
        address = undashed(request.service)
        if address is None:
            raise _NoSuchNameError
        verified = (request.namespace, address) in self._index.pod_addresses
        if self.options.pods == "verified" and not verified:
            raise _NoSuchNameError
        return [_Host(f"{request.service}.{request.namespace}.pod", address)]

    def _services(self, request: _Request) -> list[_Host]:
        if not request.service:
            return []
        service = self.cluster.service(request.namespace, request.service)
        if service is None or self._hides(service):
            raise _NoSuchNameError
        if service.type is ServiceType.EXTERNAL_NAME:
            found = self._external_name(service, request)
        elif service.headless or request.endpoint:
            found = self._endpoints_of(service, request)
        else:
            found = _cluster_ips(service, request)
        if not found:
            raise _NoSuchNameError
        return found

    def _external_name(self, service: Service, request: _Request) -> list[_Host]:
        below = request.endpoint or request.port or request.protocol
        if below or is_address(service.external_name):
            return []
        return [_Host(service_key(service), service.external_name)]

    def _endpoints_of(self, service: Service, request: _Request) -> list[_Host]:
        found = []
        for piece in self.cluster.slices_of(service):
            for endpoint, address in self._index.ready(piece):
                label = endpoint_label(endpoint, address)
                if request.endpoint and label.lower() != request.endpoint:
                    continue
                found += [
                    _Host(f"{label}.{service_key(service)}", address, port.port or NO_PORT)
                    for port in piece.ports or (EndpointPort(None),)
                    if _port_matches(request, port.name, _protocol_of(port))
                ]
        return found

    def _hides(self, service: Service) -> bool:
        """True for a service that the option `ignore empty_service` takes away."""
        if not self.options.ignore_empty_service or service.headless:
            return False
        if service.type is ServiceType.EXTERNAL_NAME:
            return False
        return self._index.is_empty(service)

    # -- zones -------------------------------------------------------------------------------------

    def _matching_zone(self, qname: str) -> str | None:
        return next((zone for zone in self._zones if is_below(qname, zone)), None)

    def _falls_through(self, qname: str) -> bool:
        return any(is_below(qname, absolute(zone)) for zone in self.options.fall_through)


def _parse(labels: list[str]) -> _Request:
    """Sort out the labels left of the zone (plugin/kubernetes/parse.go)."""
    if not labels or labels in (["svc"], ["pod"]):
        return _Request()
    if labels[-1] not in {"svc", "pod"} or len(labels) > 5:
        raise _NoSuchNameError
    kind, rest = labels[-1], labels[:-1]
    namespace = rest.pop()
    service = rest.pop() if rest else ""
    match rest:
        case []:
            return _Request(kind, namespace, service)
        case [endpoint] if kind == "svc":
            return _Request(kind, namespace, service, endpoint)
        case [port, protocol] if kind == "svc":
            port, protocol = port.removeprefix("_"), protocol.removeprefix("_")
            return _Request(kind, namespace, service, "", port, protocol)
    raise _NoSuchNameError


def _labels_left_of(qname: str, zone: str) -> list[str]:
    """The labels that the name has in front of the zone, in lower case."""
    base = qname[: len(qname) - len(zone)].lower().rstrip(".")
    return base.split(".") if base else []


def _cluster_ips(service: Service, request: _Request) -> list[_Host]:
    return [
        _Host(service_key(service), address, port.port)
        for port in service.ports
        if _port_matches(request, port.name, port.protocol)
        for address in service.cluster_ips
    ]


def _port_matches(request: _Request, name: str, protocol: str) -> bool:
    """True if the port is the one asked for; an empty question matches every port."""
    return (not request.port or request.port == name.lower()) and (
        not request.protocol or request.protocol == protocol.lower()
    )


def _protocol_of(port: EndpointPort) -> str:
    """A slice with no ports has no protocol either, so that no `_tcp` question finds it."""
    return "" if port.port is None else port.protocol
