"""The oracle: what Kubernetes promises of a flow, one stage after the other. Pure.

    route ─▶ rules ─▶ translate ─▶ fault ─▶ policy ─▶ masquerade ─▶ deliver

Never looks at host state, at a compiler or at the kernel: it would then prove only that kns does
what kns does.
"""

from __future__ import annotations

from dataclasses import replace

from kns.addresses import IPAddress
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.balancer import BGP, L2, PROXY, balancer_note, unanswered
from kns.promise.deliver import deliver, owner
from kns.promise.facts import proxy_facts
from kns.promise.faults import cut, entry_cut, hampered, refusal_hampered, sender_cut, stopped
from kns.promise.flow import (
    CLOSED,
    DROPPED,
    NO_WAY,
    REFUSED,
    Answer,
    Backend,
    Denial,
    Flow,
    Origin,
    Promise,
    ProxyEntry,
    Stage,
    Stop,
)
from kns.promise.hostport import host_port, host_port_entry, host_port_source
from kns.promise.lookup import Lookup
from kns.promise.masquerade import from_node, gateway_for, leaving, through_cluster_ip
from kns.promise.policy import denial, rulings, source_ranges_stop
from kns.promise.refused_rules import no_rules
from kns.promise.route import FlowRoute, own_address, route
from kns.promise.translate import Masquerade, Translation, translate, unknown_port


def promise(lookup: Lookup, flow: Flow) -> Promise:
    """Who may answer the flow and which address they see of the client, or why nobody does."""
    if reason := sender_cut(lookup, flow):
        return Promise(flow, stop=stopped(reason))
    way = route(lookup, flow)
    if isinstance(way, Stop):
        return Promise(flow, stop=way)
    if way.frontend is not None:
        return _to_service(lookup, flow, way)
    if way.entries:
        stop = no_rules(lookup, flow, way) or unknown_port(lookup, flow)
        return Promise(flow, stop=_as_heard(lookup, flow, way, stop), entries=way.entries)
    return _straight(lookup, flow, way)


def promise_at(lookup: Lookup, flow: Flow, node: Node) -> Promise:
    """The same of a flow from outside that something brings to `node`: a route, a balancer."""
    client = own_address(flow)
    frontend = lookup.frontend(flow.destination, flow.port or 0, flow.protocol)
    if client is None or frontend is None:
        return promise(lookup, flow)
    entry = ProxyEntry(node, Origin.OUTSIDE, client)
    return _to_service(lookup, flow, FlowRoute(client, frontend, (entry,)))


# -- by a service ----------------------------------------------------------------------------------


def _to_service(lookup: Lookup, flow: Flow, way: FlowRoute) -> Promise:
    assert way.frontend is not None  # noqa: S101 - the caller looked
    lost = _lost_on_the_way(lookup, flow, way) or no_rules(lookup, flow, way)
    if lost is not None:
        return Promise(flow, (), lost, way.frontend, way.entries)
    ways = [(entry, translate(lookup, flow, way.frontend, entry)) for entry in way.entries]
    answers, denied = _answers(lookup, flow, ways)
    if reason := _hampered(lookup, flow, ways, denied):
        return Promise(flow, (), Stop(Stage.FAULT, (), reason), way.frontend, way.entries)
    if way.balancer is not None and way.balancer.mode != L2 and _is_cut(denied):
        return Promise(flow, (), _unsettled(denied[0].reason), way.frontend, way.entries)
    note = ways[0][1].note
    if way.balancer is not None:
        note = balancer_note(way.balancer, tuple(entry.node for entry in way.entries))
    leads = bool(answers or denied) or _filters_first(lookup, way)
    stop = source_ranges_stop(flow, way) if leads else None
    if stop is not None or not answers:
        if stop is None and denied:
            stop = _denied(way, denied)
        elif stop is None and way.balancer is not None:
            stop = unanswered(way.balancer)
        elif stop is None:
            stop = _as_heard(lookup, flow, way, ways[0][1].stop)
        is_noted = stop is ways[0][1].stop and way.balancer is None
        noted = note if is_noted else ""
        return Promise(flow, (), stop, way.frontend, way.entries, noted, denied=denied)
    return Promise(
        flow,
        answers,
        deliver(lookup, flow, [answer.backend for answer in answers]),
        way.frontend,
        way.entries,
        note,
        not denied and _is_even(answers, [translation for _, translation in ways]),
        # each node keeps its own account of who sticks to what, and flows are spread over nodes
        way.balancer is None or way.balancer.mode != BGP or len(way.entries) < 2,
        denied,
    )


def _lost_on_the_way(lookup: Lookup, flow: Flow, way: FlowRoute) -> Stop | None:
    """Why the flow comes to none of the nodes that would translate it; None: it does."""
    cuts = [entry_cut(lookup, flow, entry) for entry in way.entries]
    reason = next(filter(None, cuts), "")
    if not reason:
        return None
    return stopped(reason) if len(cuts) == 1 else _unsettled(reason)


def _hampered(
    lookup: Lookup,
    flow: Flow,
    ways: list[tuple[ProxyEntry, Translation]],
    denied: tuple[Denial, ...],
) -> str:
    """Why it can't be told whether one of the other backends answers; else nothing."""
    silent = [item.backend for item in denied]
    found = (
        hampered(lookup, flow, entry, backend)
        for entry, translation in ways
        for backend in translation.backends
        if backend not in silent
    )
    return next(filter(None, found), "") if lookup.cluster.faults else ""


def _as_heard(lookup: Lookup, flow: Flow, way: FlowRoute, stop: Stop | None) -> Stop | None:
    """The end of a flow as the sender hears of it: a fault may keep a refusal from it."""
    if stop is None or stop.outcomes != REFUSED:
        return stop
    found = (refusal_hampered(lookup, flow, entry) for entry in way.entries)
    reason = next(filter(None, found), "")
    return Stop(Stage.FAULT, (), reason) if reason else stop


def _is_cut(denied: tuple[Denial, ...]) -> bool:
    return any(item.stage is Stage.FAULT for item in denied)


def _unsettled(reason: str) -> Stop:
    """A balancer leaves out what does not answer, once it has noticed: until then it may not."""
    return Stop(Stage.FAULT, (), f"{reason}: how soon the balancer sees it can't be told")


def _filters_first(lookup: Lookup, way: FlowRoute) -> bool:
    """Whether it matters who asks, though nobody would answer."""
    facts = proxy_facts(lookup.cluster)
    own = any(entry.origin is Origin.NODE for entry in way.entries)
    first = facts.filters_own_sources_first if own else facts.filters_sources_first
    return way.balancer is not None or first


def _denied(way: FlowRoute, denied: tuple[Denial, ...]) -> Stop:
    """What comes of a flow that is kept from every backend; a proxy has taken the connection."""
    is_proxied = way.balancer is not None and way.balancer.mode == PROXY
    failures = tuple(dict.fromkeys(outcome for item in denied for outcome in item.outcomes))
    outcomes = (*CLOSED, *failures) if is_proxied else failures
    stage = Stage.FAULT if _is_cut(denied) else denied[0].stage
    return Stop(stage, outcomes, denied[0].reason)


def _answers(
    lookup: Lookup, flow: Flow, ways: list[tuple[ProxyEntry, Translation]]
) -> tuple[tuple[Answer, ...], tuple[Denial, ...]]:
    """Each backend once, with the sources that it sees by the entries that lead to it.

    And those that faults or network policies keep the flow from, or whose answer is lost, by one
    entry at least.
    """
    answers: dict[tuple[IPAddress, int | None], Answer] = {}
    denied: list[Denial] = []
    for entry, translation in ways:
        for backend in translation.backends:
            source = _source(lookup, entry, translation, backend)
            if reason := cut(lookup, flow, entry, backend, source):
                denied.append(Denial(backend, reason, Stage.FAULT, NO_WAY))
                continue
            found = rulings(lookup, flow, entry, backend, source)
            denying = denial(found)
            if denying is not None:
                denied.append(Denial(backend, denying.reason, Stage.POLICY, ruling=denying))
                continue
            if reason := _lost_answer(lookup, entry, backend, source):
                denied.append(Denial(backend, reason, Stage.MASQUERADE))
                continue
            place = (backend.address, backend.port)
            before = answers.get(place, Answer(backend, (), found))
            sources = tuple(dict.fromkeys((*before.sources, source)))
            answers[place] = replace(before, sources=sources)
    return tuple(answers.values()), tuple(denied)


def _source(
    lookup: Lookup, entry: ProxyEntry, translation: Translation, backend: Backend
) -> IPAddress:
    if entry.origin is not Origin.NODE and lookup.is_own(entry.node, backend.address):
        # it is the node itself that is reached: what comes in passes no POSTROUTING, which rewrites
        return entry.client
    # hairpin: without translation the pod would answer itself directly
    is_hairpin = entry.pod is not None and backend.pod is entry.pod
    if backend.address == entry.client and entry.origin is Origin.OUTSIDE:
        is_hairpin = proxy_facts(lookup.cluster).masquerades_remote_hairpins
    if translation.masquerade is Masquerade.ALL or is_hairpin:
        return from_node(lookup, entry.node, backend)
    if translation.masquerade is Masquerade.DETECTED:
        return through_cluster_ip(lookup, entry, backend)
    if entry.pod is not None and backend.address not in lookup.pods:
        # no mark of the proxy's, but egress hides pods from who isn't one
        return leaving(lookup, entry.pod, backend.address)
    return entry.client


def _lost_answer(lookup: Lookup, entry: ProxyEntry, backend: Backend, source: IPAddress) -> str:
    """Why a pod that came in from another node as itself hears nothing of the backend; or nothing.

    Only an endpoint of the entry's node answers by it, where the translation is undone.
    """
    is_guest = entry.origin is Origin.OUTSIDE and source in lookup.pods
    if not is_guest or backend.node == entry.node.name:
        return ""
    if source == backend.address:
        return f"{backend.name} gets its own packet, from its own address: dropped"
    return f"{backend.name} answers the pod directly, from an address that it did not ask"


def _is_even(answers: tuple[Answer, ...], translations: list[Translation]) -> bool:
    """Whether flows that are spread evenly over the entries reach each backend as often."""
    if len(translations) < 2:
        return True
    shares = [
        sum(1 / len(t.backends) for t in translations if answer.backend in t.backends)
        for answer in answers
    ]
    return max(shares) - min(shares) <= 1e-9


# -- straight to the destination -------------------------------------------------------------------


def _straight(lookup: Lookup, flow: Flow, way: FlowRoute) -> Promise:
    backend = owner(lookup, flow)
    if isinstance(backend, Stop):
        return Promise(flow, stop=backend)
    source, note = _straight_source(lookup, flow, way, backend)
    mapped, entry = host_port(lookup, flow), None
    if mapped is not None:
        entry = host_port_entry(lookup, flow, source, mapped)
        source, note = host_port_source(lookup, flow, source, mapped), "a host port"
        backend = mapped
    if reason := cut(lookup, flow, entry, backend, source):
        return Promise(flow, stop=stopped(reason))
    if reason := hampered(lookup, flow, entry, backend):
        return Promise(flow, stop=Stop(Stage.FAULT, (), reason))
    found = rulings(lookup, flow, entry, backend, source)
    denying = denial(found)
    if denying is not None:
        kept_out = Stop(Stage.POLICY, DROPPED, denying.reason)
        denied = Denial(backend, denying.reason, Stage.POLICY, ruling=denying)
        return Promise(flow, stop=kept_out, denied=(denied,))
    is_outside = flow.destination in lookup.hosts
    if isinstance(lookup.sender(flow.source), Pod) and is_outside and source == way.client:
        reason = f"{source} leaves untranslated, and nobody outside knows the way back"
        return Promise(flow, stop=Stop(Stage.MASQUERADE, NO_WAY, reason))
    stop = deliver(lookup, flow, (backend,))
    return Promise(flow, (Answer(backend, (source,), found),), stop, note=note)


def _straight_source(
    lookup: Lookup, flow: Flow, way: FlowRoute, backend: Backend
) -> tuple[IPAddress, str]:
    """The source that the destination sees, and whose it is if it is translated."""
    item = lookup.sender(flow.source)
    if flow.destination.is_loopback:
        return way.client, ""
    if isinstance(item, Node):
        return (from_node(lookup, item, backend) if backend.pod is not None else way.client), ""
    if backend.address in lookup.pods or not isinstance(item, Pod):
        return way.client, ""
    source = leaving(lookup, item, flow.destination)
    if source == way.client:
        return source, ""
    gateway = gateway_for(lookup, item, flow.destination)
    note = f"{item.node}'s: masqueraded"
    if gateway is not None:
        note = f"{gateway.name}'s: it leaves by this egress gateway"
    return source, note
