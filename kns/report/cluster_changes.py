"""What a change has done to the network: lines as a diff has them, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from kns.addresses import IPAddress
from kns.engine.cluster_changes import (
    ClusterChanges,
    EndpointChange,
    PodChange,
    RuleChange,
    ServiceChange,
)
from kns.engine.live_change import ChangeOutcome
from kns.engine.object_verbs import ObjectResult

#: lines of one sort; of more the rest is counted
_MOST = 8


def changes_text(changes: ClusterChanges) -> str:
    """A line for each pod, Service and endpoint that came (+) or went (-), and for the rules."""
    lines: list[str] = []
    for word, parts in (
        ("pods", [(item.is_new, _pod(item)) for item in changes.pods]),
        ("services", [(item.is_new, _service(item)) for item in changes.services]),
        ("endpoints", [(item.is_new, _endpoint(item)) for item in changes.endpoints]),
    ):
        lines += _limited(word, parts)
    lines += _rules(changes)
    return "".join(f"  {line}\n" for line in lines)


def _limited(word: str, parts: Sequence[tuple[bool, str]]) -> Iterator[str]:
    for is_new, group in groupby(parts, key=lambda part: part[0]):
        sign = "+" if is_new else "-"
        texts = [text for _, text in group]
        shown = texts if len(texts) <= _MOST else texts[: _MOST - 1]
        yield from (f"{sign} {text}" for text in shown)
        if len(texts) > len(shown):
            yield f"{sign} {len(texts) - len(shown)} more {word}"


def _pod(item: PodChange) -> str:
    return f"pod {_short(item.pod.full_name)} on {item.pod.node}: {_joined(item.pod.addresses)}"


def _service(item: ServiceChange) -> str:
    addresses = _joined(item.service.cluster_ips) or "no cluster IP"
    return f"svc {_short(item.service.full_name)}: {addresses}"


def _endpoint(item: EndpointChange) -> str:
    ports = ",".join(map(str, item.ports))
    address = f"[{item.address}]" if item.address.version == 6 else str(item.address)
    whose = f" ({_short(item.pod)})" if item.pod else ""
    return f"svc {_short(item.service)}: endpoint {address}:{ports}{whose}"


def _rules(changes: ClusterChanges) -> Iterator[str]:
    """Nodes whose rules differ by as many are told together."""
    counts = sorted(changes.rules, key=lambda rule: (-rule.new, -rule.gone, rule.node))
    for (new, gone), group in groupby(counts, key=lambda rule: (rule.new, rule.gone)):
        nodes = ", ".join(rule.node for rule in group)
        yield f"rules of {nodes} ({changes.mode}): {new} new, {gone} gone"


def _joined(addresses: Sequence[IPAddress]) -> str:
    return ", ".join(map(str, addresses))


def _short(full_name: str) -> str:
    return full_name.removeprefix("default/")


# -- JSON ------------------------------------------------------------------------------------------


def outcome_json(
    lab: str, results: Sequence[ObjectResult], outcome: ChangeOutcome
) -> dict[str, object]:
    """The objects that were changed, what that has done to the network, what it waits for."""
    changes = outcome.changes
    return {
        "lab": lab,
        "objects": [
            {
                "kind": item.resource.kind,
                "namespace": item.namespace,
                "name": item.name,
                "result": item.result,
            }
            for item in results
        ],
        "pods": [
            {
                "change": _word(is_new=item.is_new),
                "pod": item.pod.full_name,
                "node": item.pod.node,
                "addresses": list(map(str, item.pod.addresses)),
            }
            for item in changes.pods
        ],
        "services": [
            {
                "change": _word(is_new=item.is_new),
                "service": item.service.full_name,
                "clusterIPs": list(map(str, item.service.cluster_ips)),
            }
            for item in changes.services
        ],
        "endpoints": [
            {
                "change": _word(is_new=item.is_new),
                "service": item.service,
                "address": str(item.address),
                "ports": list(item.ports),
                "pod": item.pod,
            }
            for item in changes.endpoints
        ],
        "rules": [_rule_json(item) for item in changes.rules],
        "waitsFor": list(outcome.waits),
    }


def _rule_json(item: RuleChange) -> dict[str, object]:
    return {"node": item.node, "new": item.new, "gone": item.gone}


def _word(*, is_new: bool) -> str:
    return "new" if is_new else "gone"
