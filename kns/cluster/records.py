"""DNS records as values: what a lookup gives, and the names that Kubernetes makes of objects.

    Cluster ──ClusterZone.lookup()──▶ Answer ──kns.agent──▶ the wire
              (kns.cluster.zone)        Record: owner, type, TTL, data in presentation format

Names are absolute and end with a dot. Source of the names: the Kubernetes DNS specification 1.1.0
(kubernetes/dns docs/specification.md) and CoreDNS' plugin/kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Protocol

from kns.addresses import IPAddress
from kns.kinds.endpointslice import Endpoint

#: the schema that CoreDNS answers at dns-version.<zone>, and that record's TTL
SCHEMA_VERSION = "1.1.0"
SCHEMA_TTL = 28800
#: plugin/backend_lookup.go SOA: refresh, retry, expire; the TTL of a negative answer is capped
SOA_TIMES = "7200 1800 86400"
SOA_TTL_MAX = 300
REVERSE_IPV4 = "in-addr.arpa."
REVERSE_IPV6 = "ip6.arpa."


class Rcode(StrEnum):
    """An answer code under its IANA name."""

    NOERROR = "NOERROR"
    SERVFAIL = "SERVFAIL"
    NXDOMAIN = "NXDOMAIN"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record of class IN; `data` is its RDATA in presentation format."""

    name: str
    type: str
    ttl: int
    data: str

    def __str__(self) -> str:
        return f"{self.name} {self.ttl} IN {self.type} {self.data}"


@dataclass(frozen=True, slots=True)
class ZoneAnswer:
    """What a zone says to one question.

    `pending`, if not empty, is the target of the answer's last CNAME, which is not in the zone: a
    server has to look it up elsewhere, with the same type, and append what it finds.
    """

    rcode: Rcode
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    pending: str = ""


class Zone(Protocol):
    """Something that can be asked for records."""

    def lookup(self, qname: str, qtype: str) -> ZoneAnswer | None:
        """Answer the question, or None: not a name of this zone, ask somebody else."""
        ...


def soa_record(zone: str, ttl: int, serial: int) -> Record:
    """The SOA record that CoreDNS makes up for a zone of the kubernetes plugin."""
    prefix = "" if zone == "." else zone
    data = f"ns.dns.{prefix} hostmaster.{prefix} {serial} {SOA_TIMES} {ttl}"
    return Record(zone, "SOA", min(ttl, SOA_TTL_MAX), data)


def address_record(name: str, address: IPAddress, ttl: int) -> Record:
    """An A or AAAA record."""
    return Record(name, address_type(address), ttl, str(address))


def address_type(address: IPAddress) -> str:
    """`A` or `AAAA`."""
    return "A" if address.version == 4 else "AAAA"


def absolute(name: str) -> str:
    """The name with its closing dot."""
    return name if name.endswith(".") else f"{name}."


def is_below(name: str, zone: str) -> bool:
    """True if the name is the zone or a name in it, in whatever case."""
    lowered, suffix = name.lower(), zone.lower()
    return suffix in {".", lowered} or lowered.endswith(f".{suffix}")


def dashed(address: IPAddress) -> str:
    """The address as a label: `172-0-0-2`, `5678-abcd--2`."""
    return str(address).replace(".", "-").replace(":", "-")


def undashed(label: str) -> IPAddress | None:
    """The address that a label of a pod record stands for; None if it is not one."""
    is_ipv4 = label.count("-") == 3 and "--" not in label
    try:
        return ip_address(label.replace("-", "." if is_ipv4 else ":"))
    except ValueError:
        return None


def endpoint_label(endpoint: Endpoint, address: IPAddress) -> str:
    """The label of an endpoint under its service: the pod's hostname, else the dashed address."""
    return endpoint.hostname or dashed(address)


def is_reverse(name: str) -> bool:
    """True for a name below in-addr.arpa or ip6.arpa."""
    return name.lower().endswith((f".{REVERSE_IPV4}", f".{REVERSE_IPV6}"))


def reverse_name(address: IPAddress) -> str:
    """The name at which the address's PTR record is."""
    return f"{address.reverse_pointer}."


def address_of_reverse(name: str) -> IPAddress | None:
    """The address whose `reverse_name` this is; None if it is none (a zone cut, a typing error)."""
    lowered = name.lower()
    if lowered.endswith(f".{REVERSE_IPV4}"):
        labels = lowered.removesuffix(f".{REVERSE_IPV4}").split(".")
        text = ".".join(reversed(labels))
    elif lowered.endswith(f".{REVERSE_IPV6}"):
        labels = lowered.removesuffix(f".{REVERSE_IPV6}").split(".")
        digits = "".join(reversed(labels))
        if len(labels) != 32 or len(digits) != 32:
            return None
        text = ":".join(digits[i : i + 4] for i in range(0, 32, 4))
    else:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None
