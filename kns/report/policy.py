"""`kns policy`: what network policies decide, as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from kns.kinds.common import Object
from kns.kinds.networkpolicy import NetworkPolicy, PolicyType
from kns.labfile.reader import JSON
from kns.probe.policy_proof import PolicyProof, ProvenContact
from kns.promise.location import label
from kns.promise.networkpolicy import AllowingRule, Ruling
from kns.promise.policy_matrix import Changed, Contact, PolicyMatrix, end_label, is_same_pod
from kns.report.table import Table, render_table

ALLOWED, DENIED, SOME = ".", "X", "~"
LEGEND = {
    ALLOWED: ". allowed",
    DENIED: "X denied",
    SOME: "~ some of its ports",
    "4": "4 over IPv4 only",
    "6": "6 over IPv6 only",
}
NOT_PROVEN = PolicyProof()


# -- matrix ----------------------------------------------------------------------------------------


def matrix_text(contacts: Sequence[Contact], proof: PolicyProof = NOT_PROVEN) -> str:
    """The truth table: rows are sources, columns destinations, numbered below where they are many.

    With what was proven, the connections that did not go as decided are listed.
    """
    cells: dict[tuple[str, str], list[Contact]] = {}
    for item in contacts:
        key = (end_label(item.source), end_label(item.destination))
        cells.setdefault(key, []).append(item)
    names = list(dict.fromkeys(name for key in cells for name in key))
    rows = tuple(
        (name, *(_cell(cells.get((name, other), []), is_own=name == other) for other in names))
        for name in names
    )
    lines = [render_table(Table(("", *names), rows))] if names else ["no pods\n"]
    signs = {sign for row in rows for sign in row[1:]}
    lines.append(f"\n{', '.join(text for sign, text in LEGEND.items() if sign in signs)}\n")
    if proof is not NOT_PROVEN:
        lines.append(proof_text(proof))
    return "".join(lines)


def _cell(found: Sequence[Contact], *, is_own: bool) -> str:
    if is_own or not found:
        return " "
    allowed = {item.family for item in found if item.allowed}
    denied = {item.family for item in found if not item.allowed}
    if not denied:
        return ALLOWED
    if not allowed:
        return DENIED
    (one, *more) = allowed
    return SOME if more or one in denied or one is None else str(one.version)


def proof_text(proof: PolicyProof) -> str:
    """How many went as decided, each that did not, and why some were not tried."""
    proven = proof.proven
    wrong = [item for item in proven if not item.keeps]
    lines = [f"tried {len(proven)}: {len(proven) - len(wrong)} as predicted, {len(wrong)} not\n"]
    lines += [f"not tried {count}: {reason}\n" for reason, count in proof.untried]
    for item in wrong:
        source, target, port = item.contact.key
        expected = "allowed" if item.contact.allowed else "denied"
        what = f"{source} -> {target} {port}{_over(item.contact)}"
        lines.append(f"  {what}: predicted {expected}, was {item.outcome}\n")
    return "".join(lines)


def _over(item: Contact) -> str:
    """The family in words, where the pods have two."""
    pods = [end.pod for end in (item.source, item.destination) if end.pod is not None]
    is_dual = all(len({a.version for a in pod.addresses}) > 1 for pod in pods)
    return f" over {item.family}" if is_dual else ""


def matrix_csv(contacts: Iterable[Contact], proof: PolicyProof = NOT_PROVEN) -> str:
    """A line for each connection."""
    outcomes = _by_contact(proof)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    more = ("actual", "differs") if proof is not NOT_PROVEN else ()
    columns = ("source", "destination", "port", "protocol", "allowed", "reason", "family")
    writer.writerow((*columns, *more))
    for item in contacts:
        source, target, _ = item.key
        port = "" if item.port.port is None else item.port.port
        protocol = "ICMP" if item.port.port is None else str(item.port.protocol)
        reason = "; ".join(ruling.reason for ruling in item.rulings)
        allowed = str(item.allowed).lower()
        row = (source, target, port, protocol, allowed, reason, item.family or "")
        found = outcomes.get((item.key, item.family))
        seen = (found.outcome, str(not found.keeps).lower()) if found is not None else ()
        writer.writerow((*row, *seen))
    return buffer.getvalue()


def _by_contact(proof: PolicyProof) -> dict[object, ProvenContact]:
    """What was proven, by the ends, port and family of the connection."""
    return {(item.contact.key, item.contact.family): item for item in proof.proven}


def contact_json(item: Contact, proven: ProvenContact | None = None) -> Object:
    """The documented form of one connection."""
    result: Object = {
        "source": end_label(item.source),
        "destination": end_label(item.destination),
        "port": item.port.port,
        "protocol": "ICMP" if item.port.port is None else str(item.port.protocol),
        "family": item.family,
        "allowed": item.allowed,
        "egress": _ruling_json(item.ruling(PolicyType.EGRESS)),
        "ingress": _ruling_json(item.ruling(PolicyType.INGRESS)),
    }
    if proven is not None:
        result |= {"actual": str(proven.outcome), "differs": not proven.keeps}
    return result


def matrix_json(contacts: Iterable[Contact], proof: PolicyProof = NOT_PROVEN) -> JSON:
    """Every connection."""
    outcomes = _by_contact(proof)
    return {
        "contacts": [contact_json(item, outcomes.get((item.key, item.family))) for item in contacts]
    }


def _ruling_json(ruling: Ruling | None) -> JSON:
    """None: the end is not isolated."""
    if ruling is None:
        return None
    policies: list[JSON] = [
        {"name": policy.full_name, "place": policy.place or None} for policy in ruling.policies
    ]
    return {"isolatedBy": policies, "allowedBy": _rule_json(ruling.rule)}


def _rule_json(rule: AllowingRule | None) -> JSON:
    if rule is None:
        return None
    return {
        "policy": rule.policy.full_name,
        "rule": f"{rule.direction.lower()}[{rule.index}]",
        "place": rule.rule.place or None,
    }


# -- explain ---------------------------------------------------------------------------------------


def explain_text(matrix: PolicyMatrix, contacts: Sequence[Contact]) -> str:
    """Each connection; of those that only the family tells apart, the first."""
    shown: dict[str, dict[object, Contact]] = {}
    for item in contacts:
        shown.setdefault(item.port.words, {}).setdefault(item.verdict, item)
    return "\n".join(
        _explained(matrix, item, _over(item) if len(different) > 1 else "")
        for different in shown.values()
        for item in different.values()
    )


def _explained(matrix: PolicyMatrix, item: Contact, over: str) -> str:
    """Which policies select either end, what allows the connection or what is missing."""
    source, target, port = item.key
    verdict = "allowed" if item.allowed else "denied"
    lines = [f"{source} -> {target} {port}{over}: {verdict}\n"]
    ends = ((PolicyType.EGRESS, item.source), (PolicyType.INGRESS, item.destination))
    for direction, end in ends:
        ruling = item.ruling(direction)
        word = direction.lower()
        if ruling is not None:
            lines += _isolated(matrix, ruling)
        elif end.pod is None:
            lines.append(f"{word}: {end_label(end)} is no pod, and no policy is about it\n")
        elif not matrix.isolating(end.pod, direction):
            lines.append(f"{word}: no policy isolates {end_label(end)}, so everything passes\n")
        elif is_same_pod(item.source, item.destination):
            lines.append(f"{word}: a pod reaches itself always\n")
        else:
            lines.append(f"{word}: a node and its own pods reach each other always\n")
    return "".join(lines)


def _isolated(matrix: PolicyMatrix, ruling: Ruling) -> list[str]:
    lines = [f"{ruling.direction.lower()}: {label(ruling.pod)} is isolated\n"]
    for policy in ruling.policies:
        lines.append(f"  {_placed(policy.full_name, policy.place)}\n")
        lines += [f"    {line}\n" for line in _rules(matrix, ruling, policy)]
    if ruling.rule is None:
        lines.append("  no rule allows it\n")
    return lines


def _rules(matrix: PolicyMatrix, ruling: Ruling, policy: NetworkPolicy) -> Iterable[str]:
    rules = policy.rules(ruling.direction)
    if not rules:
        yield f"has no rule for {ruling.direction.lower()}"
    for index, rule in enumerate(rules):
        allowing = AllowingRule(policy, ruling.direction, index)
        name = _placed(f"{ruling.direction.lower()}[{index}]", rule.place)
        peers, ports = matrix.fits(ruling, allowing)
        if peers and ports:
            yield f"{name} allows it"
            continue
        missing = []
        if not peers:
            field = "from" if ruling.direction is PolicyType.INGRESS else "to"
            missing.append(f"{field} has no {end_label(ruling.remote)}")
        if not ports:
            missing.append(f"ports has no {ruling.port.words}")
        yield f"{name} does not: {' and '.join(missing)}"


def _placed(name: str, place: str) -> str:
    return f"{name} ({place})" if place else name


def explain_json(matrix: PolicyMatrix, item: Contact) -> Object:
    """The connection with every rule that was looked at."""
    result = contact_json(item)
    looked: list[JSON] = []
    for ruling in item.rulings:
        for policy in ruling.policies:
            for index, rule in enumerate(policy.rules(ruling.direction)):
                allowing = AllowingRule(policy, ruling.direction, index)
                peers, ports = matrix.fits(ruling, allowing)
                looked.append(
                    {
                        "policy": policy.full_name,
                        "rule": f"{ruling.direction.lower()}[{index}]",
                        "place": rule.place or None,
                        "peersFit": peers,
                        "portsFit": ports,
                    }
                )
    return {**result, "rules": looked}


# -- diff ------------------------------------------------------------------------------------------


def diff_text(found: Sequence[Changed]) -> str:
    """`+` is allowed now, `-` no longer."""
    if not found:
        return "no pair of pods is decided differently\n"
    # a pair that changes alike over both families is told once
    alike: dict[tuple[object, ...], list[Changed]] = {}
    for item in found:
        alike.setdefault((*item.after.key, item.after.verdict), []).append(item)
    lines = []
    for item, *more in alike.values():
        source, target, port = item.after.key
        port += "" if more else _over(item.after)
        sign = "+" if item.after.allowed else "-"
        reasons = "; ".join(
            ruling.reason
            for ruling in item.after.rulings
            if (ruling.rule is not None) is item.after.allowed
        )
        why = f"  ({reasons})" if reasons else "  (nothing isolates them)"
        lines.append(f"{sign} {source} -> {target} {port}{why}\n")
    return "".join(lines)


def diff_json(found: Iterable[Changed]) -> JSON:
    """Each pair that changed, before and after."""
    return {
        "changes": [
            {"before": contact_json(item.before), "after": contact_json(item.after)}
            for item in found
        ]
    }
