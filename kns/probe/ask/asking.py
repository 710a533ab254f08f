"""Carries out what a check asks, inside the source's netns."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import assert_never

from kns.addresses import IPAddress
from kns.errors import ProbeError
from kns.kernel import processes
from kns.kinds.common import Protocol
from kns.probe.addresses import in_url
from kns.probe.ask import curl, datagram, ping
from kns.probe.ask.dns_model import DNSTrace
from kns.probe.ask.places import Places
from kns.probe.identify import identify
from kns.probe.judge import AffinityRounds, LinkFacts, Observation
from kns.probe.model import Attempt
from kns.promise.check import AffinityExpiry, Ask, Datagrams, Echo, Http, ReadAddresses, Resolve
from kns.promise.location import Location

#: how much longer an answer may take than the connection
ANSWER_SECONDS = 3.0
#: after a failure: so many more requests, each waiting so long
SAMPLE = 8
SAMPLE_PATIENCE = 0.6
#: an affinity's clock has whole seconds, and the last connection counts
AFFINITY_MARGIN = 1.2


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks from anywhere in a lab. `owners` names whose each address is."""

    places: Places
    owners: Mapping[IPAddress, str]
    #: set: whoever waits stops waiting
    stop: threading.Event = field(default_factory=threading.Event)

    def observe(self, source: Location, ask: Ask) -> Observation:
        """Do it and return what was found; KnsError if it can't be done."""
        match ask:
            case Http():
                return self.http(source, ask)
            case Datagrams():
                return self._datagrams(source, ask)
            case Echo():
                return ping.ping(ask.address, self.places.context(source), count=ask.count)
            case ReadAddresses():
                return self._addresses(source, ask)
            case AffinityExpiry():
                return self._expiry(source, ask)
            case Resolve():
                return self._resolve(source, ask)
            case _:
                assert_never(ask)

    def http(self, source: Location, ask: Http) -> tuple[Attempt, ...]:
        """GET with curl."""
        place = f"{in_url(ask.address)}:{ask.port}"
        request = curl.CurlRequest(
            url=f"{ask.scheme}://{ask.host or place}{ask.path}",
            connect_to=(f"::{place}",) if ask.host else (),
            headers=ask.headers,
            ca_file=self.places.trusted,
            count=ask.count,
            connect_timeout=ask.patience,
            timeout=ask.patience + ask.delay + ANSWER_SECONDS,
            is_eager=ask.count > 1,
        )
        context = self.places.context(source)
        attempts = curl.get(request, context)
        if len(attempts) < ask.count:
            # one failed: a few more, without patience, tell which backends do answer
            few = replace(request, count=SAMPLE, connect_timeout=SAMPLE_PATIENCE, is_eager=False)
            attempts += curl.get(few, context)
        return self._identified(attempts)

    def _datagrams(self, source: Location, ask: Datagrams) -> tuple[Attempt, ...]:
        request = datagram.Datagram(
            self.places.netns_of(source), ask.address, ask.port, ask.count, ask.patience
        )
        send = datagram.sctp if ask.protocol is Protocol.SCTP else datagram.udp
        return self._identified(send(request))

    def _identified(self, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        return tuple(identify(attempt, self.owners) for attempt in attempts)

    def _addresses(self, source: Location, ask: ReadAddresses) -> LinkFacts:
        argv = ["ip", "-json", "address", "show", "dev", ask.ifname]
        done = processes.run(argv, context=self.places.context(source), timeout=10)
        if done.returncode:
            raise ProbeError(f"{ask.ifname}: {done.stderr.strip()}")
        return parse_link(done.stdout)

    def _resolve(self, source: Location, ask: Resolve) -> DNSTrace:
        # dnspython takes as long to import as everything else: only where names are asked for
        from kns.probe.ask.dns import DNSSource, trace_name  # noqa: PLC0415

        name = self.places.netns_of(source)
        where = DNSSource.at(source.label, name, self.places.etc_of(source))
        if ask.server is not None:
            where = replace(where, conf=replace(where.conf, nameservers=(str(ask.server),)))
        return trace_name(where, ask.name, ask.rdtype)

    def _expiry(self, source: Location, ask: AffinityExpiry) -> AffinityRounds:
        """Every client connects; all wait; again, until one of them is given another backend."""
        clients = (source, *ask.others)
        once = Http(ask.address, ask.port)
        rounds: list[tuple[str, ...]] = []
        with ThreadPoolExecutor(max_workers=len(clients)) as pool:
            for number in range(ask.rounds + 1):
                if number:
                    self.stop.wait(ask.seconds + AFFINITY_MARGIN)
                answers = pool.map(lambda client: self.http(client, once)[0], clients)
                rounds.append(tuple(a.backend or str(a.outcome) for a in answers))
                if number and rounds[-1] != rounds[0]:
                    break
        return AffinityRounds(tuple(zip(*rounds, strict=True)))


def parse_link(text: str) -> LinkFacts:
    """The global addresses and the MAC in the output of `ip -json address show`."""
    links = [link for link in json.loads(text or "[]") if link]
    if not links:
        raise ProbeError("ip shows no such link")
    addresses = tuple(
        ip_address(str(entry["local"]))
        for entry in links[0].get("addr_info", ())
        if entry.get("scope") == "global"
    )
    return LinkFacts(addresses, str(links[0].get("address", "")))
