"""What a stub resolver asked and was told, and the order in which it asks. Pure.

    resolv.conf ──ResolverOptions.of()──▶ ndots, timeout, attempts, …
    name ──search_order()──▶ the names that are tried, first to last

Source: glibc's resolv/res_query.c (__res_context_search) and resolv.conf(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from kns.cluster.podfiles import ResolvConf
from kns.cluster.records import Record, absolute, reverse_name
from kns.errors import UsageError

#: resolv.h: RES_TIMEOUT, RES_DFLRETRY, and what resolv.conf(5) silently caps them to
TIMEOUT, TIMEOUT_MAX = 5, 30
ATTEMPTS, ATTEMPTS_MAX = 2, 5
NDOTS, NDOTS_MAX = 1, 15
#: RFC 1035 2.3.4
LABEL_MAX, NAME_MAX = 63, 253


class ResolutionOutcome(StrEnum):
    """How a name's resolution ended."""

    RESOLVED = "RESOLVED"
    #: every name that was tried is unknown
    NXDOMAIN = "NXDOMAIN"
    #: a name exists, with no address
    NODATA = "NODATA"
    #: the server failed, or refused to answer
    SERVFAIL = "SERVFAIL"
    #: no server answered in time
    TIMEOUT = "TIMEOUT"
    #: nothing listens on the server's port, or there is no way there
    REFUSED = "REFUSED"
    #: resolv.conf has no server
    NO_SERVER = "NO_SERVER"


@dataclass(frozen=True, slots=True)
class DNSQuery:
    """One query as it was sent, with what came back.

    `rcode` is the answer's code, or why there was none: TIMEOUT, CONNREFUSED, UNREACHABLE.
    """

    name: str
    type: str
    server: str
    protocol: str
    rcode: str
    answers: tuple[Record, ...] = ()
    truncated: bool = False
    latency_ms: float | None = None

    @property
    def found(self) -> bool:
        """True if the answer is whole and holds records of the type asked for."""
        matches = any(record.type == self.type for record in self.answers)
        return self.rcode == "NOERROR" and matches and not self.truncated

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "name": self.name,
            "type": self.type,
            "server": self.server,
            "protocol": self.protocol,
            "rcode": self.rcode,
            "truncated": self.truncated,
            "answers": [
                {"name": r.name, "ttl": r.ttl, "type": r.type, "data": r.data} for r in self.answers
            ],
            "latency_ms": self.latency_ms,
        }


@dataclass(frozen=True, slots=True)
class DNSTrace:
    """One `kns dns`: every query for a name, in the order in which it was sent.

    `from_hosts` are addresses that the hosts file has: then nobody was asked.
    """

    source: str
    name: str
    types: tuple[str, ...]
    conf: ResolvConf
    outcome: ResolutionOutcome
    queries: tuple[DNSQuery, ...] = ()
    from_hosts: tuple[str, ...] = ()
    #: the C library would have gone on asking
    cut_short: bool = False

    @property
    def ok(self) -> bool:
        """True if the name resolved."""
        return self.outcome is ResolutionOutcome.RESOLVED

    @property
    def resolved_name(self) -> str:
        """The full name that led to the answer; empty if none did."""
        return next((query.name for query in reversed(self.queries) if query.found), "")

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that were asked for."""
        return tuple(
            record
            for query in self.queries
            if query.found
            for record in query.answers
            if record.type == query.type
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that a program would get, without repetition."""
        found = (record.data for record in self.records if record.type in {"A", "AAAA"})
        return tuple(dict.fromkeys((*self.from_hosts, *found)))

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "source": self.source,
            "name": self.name,
            "types": list(self.types),
            "resolver": {
                "nameservers": list(self.conf.nameservers),
                "search": list(self.conf.searches),
                "options": list(self.conf.options),
            },
            "ok": self.ok,
            "outcome": str(self.outcome),
            "resolved_name": self.resolved_name or None,
            "addresses": list(self.addresses),
            "from_hosts": list(self.from_hosts),
            "queries": [query.to_json() for query in self.queries],
        }


@dataclass(frozen=True, slots=True)
class ResolverOptions:
    """The options of resolv.conf(5) that change what is sent."""

    ndots: int = NDOTS
    timeout: int = TIMEOUT
    attempts: int = ATTEMPTS
    use_vc: bool = False
    edns0: bool = False
    no_aaaa: bool = False
    single_request: bool = False

    @staticmethod
    def of(conf: ResolvConf) -> ResolverOptions:
        """Read the words of the options lines; what is unknown is ignored, as glibc does."""
        words = dict(option.partition(":")[::2] for option in conf.options)
        return ResolverOptions(
            ndots=_number(words, "ndots", NDOTS, NDOTS_MAX),
            timeout=max(1, _number(words, "timeout", TIMEOUT, TIMEOUT_MAX)),
            attempts=max(1, _number(words, "attempts", ATTEMPTS, ATTEMPTS_MAX)),
            use_vc="use-vc" in words,
            edns0="edns0" in words or "trust-ad" in words,
            no_aaaa="no-aaaa" in words,
            single_request="single-request" in words or "single-request-reopen" in words,
        )


#: the types that `kns dns` can ask for; ANY and zone transfers are no resolver's business
TYPES = ("A", "AAAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT")


def question_of(name: str, rdtype: str) -> tuple[str, str]:
    """The name and type that a user means: an address stands for its PTR record.

    UsageError for what is no name or type.
    """
    wanted = rdtype.upper()
    if wanted and wanted not in TYPES:
        raise UsageError(f"{rdtype!r} is not a record type", hint=f"one of {', '.join(TYPES)}")
    try:
        address = ip_address(name)
    except ValueError:
        labels = name.removesuffix(".").split(".")
        fits = all(0 < len(label) <= LABEL_MAX for label in labels) and len(name) <= NAME_MAX
        if not fits or not name.isprintable():
            raise UsageError(
                f"{name!r} is not a DNS name",
                hint="labels of 1 to 63 characters, with dots between",
            ) from None
        return name, wanted
    return reverse_name(address), wanted or "PTR"


def search_order(name: str, conf: ResolvConf) -> tuple[str, ...]:
    """The absolute names that glibc tries for `name`, in order, until one has an answer.

    A name with at least `ndots` dots is tried as it is first, any other one last; one that ends
    with a dot is tried as it is and nothing else.
    """
    if name.endswith("."):
        return (name,)
    as_is = absolute(name)
    searched = tuple(_joined(name, domain) for domain in conf.searches)
    if name.count(".") >= ResolverOptions.of(conf).ndots:
        return tuple(dict.fromkeys((as_is, *searched)))
    return tuple(dict.fromkeys((*searched, as_is)))


def hosts_addresses(hosts: str, name: str) -> tuple[str, ...]:
    """The addresses that a hosts file has for a name: nsswitch.conf asks `files` before `dns`."""
    wanted = name.rstrip(".").lower()
    found = []
    for line in hosts.splitlines():
        words = line.partition("#")[0].lower().split()
        if wanted in words[1:]:
            found.append(words[0])
    return tuple(dict.fromkeys(found))


def _joined(name: str, domain: str) -> str:
    return absolute(name if domain == "." else f"{name}.{domain}")


def _number(words: Mapping[str, str], key: str, default: int, most: int) -> int:
    text = words.get(key, "")
    return min(int(text), most) if text.isdecimal() else default
