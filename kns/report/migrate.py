"""A migration as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from kns.experiment.migrate.differences import BehaviourChange
from kns.experiment.migrate.growth import NodeRules
from kns.experiment.migrate.kinds import ADVICE, DifferenceKind
from kns.experiment.migrate.migrate import Growth, Migration
from kns.experiment.migrate.prove import Proof

#: columns of a terminal
WIDTH = 80


def migration_text(found: Migration, proofs: Sequence[Proof] = ()) -> str:
    """A section a kind of difference, with what to do; then what grows and shrinks."""
    order = {kind: number for number, kind in enumerate(DifferenceKind)}
    ordered = sorted(found.differences, key=lambda item: order[item.kind])
    lines = [_headline(found), ""]
    for kind, group in groupby(ordered, key=lambda item: item.kind):
        lines += [*_section(kind, tuple(group)), ""]
    lines += [*_growth(found.growth), ""]
    lines += [line for moment in found.moments for line in _wrapped(moment, "at the switch: ", "")]
    lines += [line for proof in proofs for line in _proof(proof)]
    return "\n".join(lines).rstrip() + "\n"


def _proof(proof: Proof) -> Iterator[str]:
    held = len(proof.checks) - proof.failed
    yield f"tried in {proof.setting}: {held} of {len(proof.checks)} came out as said"
    for item in proof.untried:
        yield from _wrapped(f"not all tried of {item.kind}: {item.reason}", "  ", "    ")
    for check in proof.checks:
        if not check.ok:
            yield from _wrapped(f"{check.id}: {check.actual}, not {check.expected}", "  ✗ ", "    ")


def _headline(found: Migration) -> str:
    services = {item.service for item in found.differences if item.service}
    what = f"{len(services)} of {found.services} services behave differently"
    if not found.differences:
        what = f"nothing differs for {found.services} services"
    return f"{found.before} → {found.after}: {what}"


def _section(kind: DifferenceKind, group: tuple[BehaviourChange, ...]) -> Iterator[str]:
    advice = ADVICE[kind]
    yield from _wrapped(f"{advice.title} [{kind}]", "", "")
    effects: dict[tuple[str, str], list[BehaviourChange]] = {}
    for item in group:
        effects.setdefault((item.before, item.after), []).append(item)
    for (before, after), items in effects.items():
        for line in _who(items):
            yield from _wrapped(line, "  ", "    ")
        yield from _wrapped(before, "    before: ", "            ")
        yield from _wrapped(after, "    after:  ", "            ")
    if advice.fields:
        yield from _wrapped(", ".join(advice.fields), "  decided by: ", "    ")
    yield from _wrapped(advice.remedy, "  what to do: ", "    ")


def _who(items: Sequence[BehaviourChange]) -> Iterator[str]:
    """What is asked, by all kinds of client for whom it is so, and at which nodes."""
    asked: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for item in items:
        asked.setdefault((item.service, item.frontend, item.nodes), []).append(item.client)
    for (service, frontend, nodes), clients in asked.items():
        name = f"{service}: " if service else ""
        where = f" ({', '.join(nodes)})" if nodes else ""
        yield f"{name}{frontend}; for {', '.join(clients)}{where}"


def _growth(growth: Growth) -> Iterator[str]:
    yield f"on {growth.node}"
    before, after = growth.before.size, growth.after.size
    first, then = growth.before.sync, growth.after.sync
    rows = [
        ("rules", before.rules, after.rules),
        ("chains", before.chains, after.chains),
        ("sets", before.sets, after.sets),
        ("elements", before.elements, after.elements),
        ("bytes", before.size, after.size),
        ("lines of a first sync", first.first, then.first),
    ]
    if first.endpoint is not None and then.endpoint is not None:
        rows.append(("lines when an endpoint changes", first.endpoint, then.endpoint))
    width = max(len(name) for name, _, _ in rows)
    for name, was, becomes in rows:
        yield f"  {name:<{width}}{was:>10,} → {becomes:>9,}"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def migration_json(found: Migration, proofs: Sequence[Proof] = ()) -> dict[str, object]:
    """The documented form."""
    return {
        "from": str(found.before),
        "to": str(found.after),
        "services": found.services,
        "nodes": found.nodes,
        "differences": [_difference_json(item) for item in found.differences],
        "rules": {
            "node": found.growth.node,
            "before": _rules_json(found.growth.before),
            "after": _rules_json(found.growth.after),
        },
        "switch": list(found.moments),
        "proofs": [
            {
                "setting": str(proof.setting),
                "failed": proof.failed,
                "checks": [check.to_json() for check in proof.checks],
                "untried": list(dict.fromkeys(str(item.kind) for item in proof.untried)),
                "reasons": [
                    {"kind": str(item.kind), "reason": item.reason} for item in proof.untried
                ],
            }
            for proof in proofs
        ],
    }


def _difference_json(item: BehaviourChange) -> dict[str, object]:
    advice = ADVICE[item.kind]
    return {
        "kind": str(item.kind),
        "service": item.service,
        "frontend": item.frontend,
        "client": item.client,
        "nodes": list(item.nodes),
        "before": item.before,
        "after": item.after,
        "fields": list(advice.fields),
        "remedy": advice.remedy,
    }


def _rules_json(found: NodeRules) -> dict[str, int | None]:
    size, sync = found.size, found.sync
    return {
        "rules": size.rules,
        "chains": size.chains,
        "sets": size.sets,
        "elements": size.elements,
        "bytes": size.size,
        "first_sync_lines": sync.first,
        "endpoint_sync_lines": sync.endpoint,
    }
