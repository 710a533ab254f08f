"""`kns trace` for people: the hops with what came before each, the end, the way back.

node1
   2 µs  in   veth91b1b02d (pod1)  10.244.0.2:45667 → 10.96.27.223:80
         │ nat PREROUTING
         │   KUBE-SERVICES: finds the service by address, protocol and port
         │     -d 10.96.27.223/32 -p tcp --dport 80 -j KUBE-SVC-PYUKQ5O736Y2HVUG
         ▶ DNAT: 10.96.27.223:80 becomes 10.244.0.3:8080 (pod2)
  80 µs  out  eth0                 10.244.0.2:45667 → 10.244.0.3:8080
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from kns.kinds.networking import ProxyMode
from kns.probe.trace.model import (
    ChangeKind,
    End,
    EndKind,
    Hop,
    HopChange,
    Journey,
    RuleMet,
    Trace,
    Traversal,
    destination_of,
    source_of,
)
from kns.report.chain_words import purpose
from kns.report.paint import BAD_MARK, GOOD_MARK, Painter, Style
from kns.report.printable import shown
from kns.report.rule_words import folded, short, wrapped
from kns.report.trace_words import (
    link_words,
    question_words,
    state_words,
    time_words,
    tuple_words,
)
from kns.report.words import counted

#: where the notes between two hops begin
_INDENT = 11
#: columns for a link's name and for a place's; longer ones have a line of their own
_LINK_MAX, _PLACE_MAX = 28, 16
_BAR, _TURN = "│ ", "▶ "
#: a space at which no line is folded
_FIXED = "\N{NO-BREAK SPACE}"
_TRANSLATES = re.compile(r"-j (?:DNAT|REDIRECT)|\bdnat |\bredirect ")
_ENTERED = ("prerouting", "output", "ingress")
#: IPVS takes what arrived at INPUT, after the filter; what it sends meets OUTPUT and POSTROUTING
#: (net/netfilter/ipvs/ip_vs_core.c ip_vs_ops4)
_BEFORE_IPVS = ("prerouting", "ingress", "input")


def trace_text(trace: Trace, *, colour: bool = False, width: int = 80) -> str:
    """The whole answer, lines with a newline each."""
    teller = _Teller(shown(trace), Painter(colour), max(width, 60))
    return "".join(f"{line.rstrip()}\n" for line in teller.lines())


@dataclass(frozen=True, slots=True)
class _Teller:
    trace: Trace
    paint: Painter
    width: int

    def lines(self) -> Iterator[str]:
        """Title, the way there, the way back, what is remembered, what to look at."""
        yield from self._title()
        request, answer = self.trace.request, self.trace.answer
        if request is None:
            yield "no packet was sent"
        else:
            yield ""
            yield self._heading(request, "the first packet")
            yield from self._way(request)
            yield self._end(request.end)
        if answer is not None:
            yield ""
            yield self._heading(answer, "the answer")
            yield from self._way_back(answer)
        elif request is not None:
            yield ""
            yield self.paint("no answer came", Style.TITLE)
        if self.trace.lost is not None:
            yield ""
            yield self._heading(self.trace.lost, "a later packet that was lost")
            yield from self._way_back(self.trace.lost)
        if self.trace.onward is not None:
            yield ""
            yield self._heading(self.trace.onward, "the proxy's own connection")
            yield from self._way(self.trace.onward)
            yield self._end(self.trace.onward.end)
        yield from self._memory()
        yield from self._remarks()

    def _title(self) -> Iterator[str]:
        probe = self.trace.probe
        title = self.paint(f"{probe.source} → {probe.target}", Style.TITLE)
        mark, style = (GOOD_MARK, Style.GOOD) if probe.ok else (BAD_MARK, Style.BAD)
        outcome = self.paint(f"{mark} {probe.outcome}", style)
        yield f"{title}   {self.paint(probe.path, Style.NAME)}   {outcome}"
        for attempt in probe.attempts[:1]:
            if attempt.backend:
                took = "" if attempt.latency_ms is None else f" after {attempt.latency_ms:.2f} ms"
                yield f"{attempt.backend} answered{took}"

    def _heading(self, journey: Journey, what: str) -> str:
        first = journey.first
        again = f", sent {journey.sent} times" if journey.sent > 1 else ""
        text = self.paint(f"{what}: {first.word}{again}", Style.TITLE)
        if not journey.hops:
            return text
        took = journey.hops[-1].microseconds - journey.hops[0].microseconds
        return f"{text}   {counted(len(journey.hops), 'hop')} in {time_words(took)}"

    # -- the way there -----------------------------------------------------------------------------

    def _way(self, journey: Journey) -> Iterator[str]:
        lengths = [len(link_words(hop)) for hop in journey.hops]
        links = max((length for length in lengths if length <= _LINK_MAX), default=0)
        place = ""
        for hop in journey.hops:
            if hop.place != place:
                place = hop.place
                yield self.paint(place, Style.NAME)
            yield from self._before(hop)
            yield from self._hop(hop, links)
        if not journey.hops:
            yield self.paint(journey.end.place, Style.NAME)
        yield from self._rules(journey.rules)
        yield from (self._turn(question_words(item)) for item in journey.asked)

    def _hop(self, hop: Hop, links: int) -> Iterator[str]:
        when = self.paint(f"{time_words(hop.microseconds):>9}", Style.QUIET)
        head = f"{when}  {'out' if hop.outgoing else 'in ':<3}  {link_words(hop):<{links}}"
        kinds = {change.kind for change in hop.changes}
        source, destination = source_of(hop.packet), destination_of(hop.packet)
        ends = len(source) + len(destination) + 3
        if kinds & {ChangeKind.SNAT, ChangeKind.UNDO_DNAT}:
            source = self.paint(source, Style.CHANGED)
        if kinds & {ChangeKind.DNAT, ChangeKind.UNDO_SNAT}:
            destination = self.paint(destination, Style.CHANGED)
        if 16 + max(links, len(link_words(hop))) + 2 + ends <= self.width:
            yield f"{head}  {source} → {destination}"
        else:  # IPv6
            short = 16 + ends <= self.width
            yield head
            yield f"{'':16}{source}{f' → {destination}' if short else ''}"
            if not short:
                yield f"{'':16}→ {destination}"
        outer = hop.packet.outer
        if outer is not None:
            inside = f"in VXLAN {outer.vni}: {outer.source} → {outer.destination}"
            yield f"{'':16}{self.paint(inside, Style.QUIET)}"

    def _before(self, hop: Hop) -> Iterator[str]:
        """Rules and changes in the order in which the kernel does them."""
        of = {change.kind: change for change in hop.changes}
        ruled = any(_translates(item) for item in hop.rules)
        ipvs = ChangeKind.DNAT in of and self.trace.mode is ProxyMode.IPVS and not ruled
        hooks = {item.hook for item in hop.rules}
        arrived = "prerouting" in hooks or "input" in hooks
        before = _BEFORE_IPVS if ipvs and arrived else _ENTERED
        early = tuple(item for item in hop.rules if item.hook in before)
        late = tuple(item for item in hop.rules if item.hook not in before)
        if ChangeKind.DECAPSULATED in of:
            yield self._turn("unwrapped: what the tunnel carried comes out")
        after = max((n for n, item in enumerate(early, 1) if _translates(item)), default=len(early))
        yield from self._rules(early[:after])
        yield from self._nat(of, ChangeKind.DNAT, ChangeKind.UNDO_SNAT)
        if ipvs:
            hook = "INPUT (the address is the node's own)" if arrived else "OUTPUT"
            yield from self._note(
                "", f"no rule did that: IPVS, at {hook}, took a real server of the virtual server"
            )
        yield from self._rules(early[after:])
        if hop.route:
            networks = " or ".join(map(str, hop.not_in))
            why = f": {hop.packet.destination} is not in {networks}" if networks else ""
            yield from self._note("route ", f"{hop.route}{why}")
        if ChangeKind.ROUTED in of:
            change = of[ChangeKind.ROUTED]
            yield self._bar(f"forwarded: TTL {change.before} becomes {change.after}, MACs are new")
        yield from self._rules(late)
        yield from self._nat(of, ChangeKind.SNAT, ChangeKind.UNDO_DNAT)
        yield from (self._bar(question_words(item)) for item in hop.asked)
        if ChangeKind.ENCAPSULATED in of:
            yield self._turn("wrapped into UDP: the network between the nodes knows no pods")
        if hop.bridge:
            yield from self._note("", hop.bridge)

    def _nat(self, of: dict[ChangeKind, HopChange], *kinds: ChangeKind) -> Iterator[str]:
        for kind in kinds:
            if kind in of:
                yield from self._turns(self._became(of[kind]))

    def _became(self, change: HopChange) -> str:
        owner = self._owner(change.after)
        if change.kind in (ChangeKind.UNDO_DNAT, ChangeKind.UNDO_SNAT):
            return f"{change.kind}: {change.before} is {change.after}{owner} again"
        return f"{change.kind}: {change.before} becomes {change.after}{owner}"

    def _owner(self, text: str) -> str:
        """Whose address it is, in parentheses."""
        bare = text if text.count(":") > 1 and "]" not in text else text.rpartition(":")[0] or text
        wanted = bare.strip("[]")
        owner = next((n for a, n in self.trace.owners.items() if str(a) == wanted), "")
        return f" ({owner})" if owner else ""

    # -- rules -------------------------------------------------------------------------------------

    def _rules(self, traversals: Iterable[Traversal]) -> Iterator[str]:
        for item in traversals:
            if item.rules or item.verdict != "accept":
                yield from self._traversal(item)

    def _traversal(self, item: Traversal) -> Iterator[str]:
        shown = [rule for rule in item.rules if not rule.led_nowhere]
        barren = [rule.target for rule in item.rules if rule.led_nowhere]
        if barren and not shown and item.verdict == "accept":
            text = f": nothing matches in {', '.join(barren)}"
            yield from self._note("", f"{item.table} {item.chain}{text}")
            return
        name = self.paint(f"{item.table} {item.chain}", Style.TITLE)
        yield self._bar(f"{name}{self._outcome(item)}")
        if barren:
            yield from self._note("  ", f"nothing matches in {', '.join(barren)}")
        explained: set[str] = set()
        for chain, rules in groupby(shown, key=lambda rule: rule.chain):
            told = [rule for rule in rules if not _only_leads_on(item, rule)]
            if not told:
                continue
            if chain != item.chain:
                about = "" if chain in explained else self._purpose(item, chain)
                explained.add(chain)
                yield from self._note("  ", f"{chain}: {about}" if about else chain)
            for rule in told:
                yield from self._rule(rule)

    def _outcome(self, item: Traversal) -> str:
        if item.verdict == "accept":
            return ""
        what = f"policy {item.verdict.upper()}" if item.by_policy else item.verdict.upper()
        return f": {self.paint(what, Style.BAD)}"

    def _rule(self, rule: RuleMet) -> Iterator[str]:
        text = short(rule.text)
        if rule.target and rule.target not in text:
            text += f" ⇒ {rule.target}"
        stops = rule.verdict in ("drop", "stolen", "queue")
        for number, line in enumerate(folded(text, self.width - _INDENT - len(_BAR) - 4)):
            body = self.paint(line, Style.BAD) if stops else line
            yield self._bar(f"    {'  ' if number else ''}{body}")

    def _purpose(self, item: Traversal, chain: str) -> str:
        rules = self.trace.chains.get((item.netns, item.family, item.table, chain), ())
        return purpose(item.table, chain, rules)

    # -- the way back ------------------------------------------------------------------------------

    def _way_back(self, journey: Journey) -> Iterator[str]:
        """One line a place, and what changed there."""
        places = max((len(h.place) for h in journey.hops if len(h.place) <= _PLACE_MAX), default=0)
        for place, found in groupby(journey.hops, key=lambda hop: hop.place):
            hops = tuple(found)
            links = ", ".join(
                f"{'out' if h.outgoing else 'in'}{_FIXED}{link_words(h)}" for h in hops
            )
            when = self.paint(f"{time_words(hops[0].microseconds):>9}", Style.QUIET)
            head = f"{when}  {self.paint(f'{place:<{places}}', Style.NAME)}  "
            if len(place) > places:
                yield head
                head = f"{'':{_INDENT + places + 2}}"
            room = self.width - _INDENT - places - 2
            folds = [line.replace(_FIXED, " ") for line in wrapped(links, room)]
            for number, line in enumerate(folds):
                yield f"{'':{_INDENT + places + 2}}{line}" if number else f"{head}{line}"
            for hop in hops:
                of = {change.kind: change for change in hop.changes}
                yield from self._nat(of, *(kind for kind in of if kind in _TRANSLATIONS))
        if not journey.delivered:
            yield from self._rules(journey.rules)
        yield self._end(journey.end, came_from=source_of(journey.hops[-1].packet))

    def _end(self, end: End, came_from: str = "") -> str:
        good = end.kind is EndKind.DELIVERED
        mark = self.paint(*((GOOD_MARK, Style.GOOD) if good else (BAD_MARK, Style.BAD)))
        plain = good and came_from and end.text.endswith(" takes it")
        seen = f", from {came_from}{self._owner(came_from)}" if plain else ""
        room = self.width - _INDENT
        lines = wrapped(f"{end.text}{seen}", room)
        first, *rest = lines or [""]
        body = [f"{'':{_INDENT - 2}}{mark} {self._loud(first, good=good)}"]
        body += [f"{'':{_INDENT}}{self._loud(line, good=good)}" for line in rest]
        return "\n".join(body)

    def _loud(self, text: str, *, good: bool) -> str:
        return text if good else self.paint(text, Style.BAD)

    # -- the rest ----------------------------------------------------------------------------------

    def _memory(self) -> Iterator[str]:
        for item in self.trace.remembered:
            yield ""
            yield self.paint(f"{item.place} remembers", Style.TITLE) + f": {state_words(item)}"
            sides = (("asked", item.connection.original), ("answered", item.connection.reply))
            for label, ends in sides:
                lines = wrapped(tuple_words(item, ends), self.width - _INDENT - 10)
                for number, line in enumerate(lines):
                    yield f"{'':{_INDENT}}{'' if number else label:<10}{line}"

    def _remarks(self) -> Iterator[str]:
        remarks = [("look at", self.trace.probe.reason)] if self._guess_helps() else []
        remarks += [("note", note) for note in self.trace.notes]
        for label, text in remarks:
            yield ""
            lines = wrapped(text, self.width - _INDENT)
            for number, line in enumerate(lines):
                yield f"{'' if number else label:<{_INDENT}}{line}"

    def _guess_helps(self) -> bool:
        """False if the trace has seen the cause, which the probe alone can only guess."""
        journeys = (self.trace.request, self.trace.answer, self.trace.lost)
        kinds = {journey.end.kind for journey in journeys if journey is not None}
        if kinds & _SEEN:
            return False
        outside = self.trace.probe.path.startswith("internet-to-")
        return bool(self.trace.probe.reason) and (outside or EndKind.UNREACHABLE not in kinds)

    # -- lines between hops ------------------------------------------------------------------------

    def _bar(self, text: str) -> str:
        return f"{'':{_INDENT}}{self.paint(_BAR, Style.QUIET)}{text}"

    def _turn(self, text: str) -> str:
        return f"{'':{_INDENT}}{self.paint(_TURN + text, Style.CHANGED)}"

    def _turns(self, text: str) -> Iterator[str]:
        lines = wrapped(text, self.width - _INDENT - 2)
        for number, line in enumerate(lines):
            yield self._turn(line) if not number else self._bar(self.paint(line, Style.CHANGED))

    def _note(self, label: str, text: str) -> Iterator[str]:
        """A label and a text; what is wrapped stands four columns in."""
        room = self.width - _INDENT - len(_BAR) - len(label)
        for number, line in enumerate(wrapped(text, room, "    ")):
            yield self._bar(f"{' ' * len(label) if number else label}{line}")


#: ends that leave nothing to guess
_SEEN = {EndKind.DROPPED, EndKind.NO_NEIGHBOR, EndKind.NOT_FORWARDED, EndKind.MISMATCH}
_TRANSLATIONS = (
    ChangeKind.DNAT,
    ChangeKind.SNAT,
    ChangeKind.UNDO_DNAT,
    ChangeKind.UNDO_SNAT,
)


def _only_leads_on(item: Traversal, rule: RuleMet) -> bool:
    """True of a base chain's jump without a condition worth reading: its chain comes next."""
    return rule.chain == item.chain and rule.verdict in ("jump", "goto") and bool(rule.target)


def _translates(item: Traversal) -> bool:
    return any(_TRANSLATES.search(rule.text) for rule in item.rules)
